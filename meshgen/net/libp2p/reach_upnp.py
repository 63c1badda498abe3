"""A door in the home's router: UPnP or NAT-PMP has it forward a port to this node, so that others dial it directly.

Most homes have no such router, or have it switched off: then nothing happens, and relays do the work. Whether the door leads
anywhere is found out by others, who try it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import trio
from multiaddr import Multiaddr

from meshgen.net.guard import log, shielded
from meshgen.net.libp2p.reach_natpmp import find_natpmp
from meshgen.net.libp2p.reach_probe import tcp_address
from meshgen.net.libp2p.reach_router import Router, RouterError
from meshgen.net.libp2p.reach_votes import is_global, is_loopback

__all__ = ["Router", "RouterError", "Upnp", "find_upnp", "wants_door"]

SEARCH_MS = 2000
LEASE_S = 3600
RENEW_S = LEASE_S / 2
AGAIN_S = 1800.0
"""Without a router that answers, it is looked for again after this."""
ASK_S = 20.0
"""Of all questions to a router together."""
TRIES = 4
NAME = "meshgen"


class Upnp:
    """Keeps a port forwarded. ``opened`` is told the address that leads here, or None when there is none any more."""

    def __init__(self, opened: Callable[[Multiaddr | None], None], finders: Sequence[Callable[[], Router | None]] = ()) -> None:
        """``finders``: of a router that speaks UPnP, and of one that speaks NAT-PMP; the next where one leads nowhere."""
        self._opened = opened
        self._finders = finders or (find_upnp, find_natpmp)
        self._outside_port = 0
        """That was forwarded last: others know it."""

    async def run(self, port: int) -> None:
        """Until cancelled."""
        self._outside_port = port
        while True:
            for find in self._finders:
                if router := await _asked(find):
                    await self._keep(router, port)
            self._opened(None)
            await trio.sleep(AGAIN_S)

    async def _keep(self, router: Router, port: int) -> None:
        """For as long as it forwards the port; what it forwarded it is asked to close."""
        opened = False
        try:
            while held := await self._forward(router, self._outside_port, port):
                opened, self._outside_port = True, held[1]
                self._opened(tcp_address(*held))
                await trio.sleep(RENEW_S)
        finally:
            if opened:
                with shielded(2.0):
                    await _asked(router.close, self._outside_port)

    async def _forward(self, router: Router, outside_port: int, port: int) -> tuple[str, int] | None:
        """The outer IP and port; None where another NAT lies beyond, or nothing is to be had."""
        outside = await _asked(router.outside)
        if not outside or not is_global(outside):
            return None
        for attempt in range(TRIES):
            wanted = outside_port if not attempt else random.randint(20_000, 60_000)  # somebody else may have the first
            for lease_s in (LEASE_S, 0):  # some routers know only leases without end
                if await _asked(_forwarded, router, wanted, port, lease_s):
                    return outside, wanted
        return None


def wants_door(own_ips: Iterable[str]) -> bool:
    """A home's address, and none that the world sees."""
    ipv4 = [ip for ip in own_ips if "." in ip and not is_loopback(ip)]
    return bool(ipv4) and not any(map(is_global, ipv4))


def _forwarded(router: Router, outside_port: int, port: int, lease_s: int) -> bool:
    router.forward(outside_port, port, lease_s)
    return True


async def _asked(question: Callable[..., Any], *given: Any) -> Any:
    """The answer; None when there is none in time. The question blocks, so it runs in a thread, which is left to itself then."""
    with trio.move_on_after(ASK_S):
        try:
            return await trio.to_thread.run_sync(question, *given, abandon_on_cancel=True)
        except RouterError as error:
            log.debug("the router: %s", error)
    return None


def find_upnp() -> Router | None:
    """The router of this network, if it speaks UPnP. Raises RouterError."""
    try:
        from miniupnpc import UPnP
    except ImportError:
        return None
    found = UPnP()
    found.discoverdelay = SEARCH_MS
    try:
        if not found.discover():
            return None
        found.selectigd()
    except Exception as error:
        raise RouterError(str(error)) from error
    return _Igd(found)


class _Igd:
    def __init__(self, found: Any) -> None:
        self._found = found

    def outside(self) -> str:
        return str(self._ask(self._found.externalipaddress) or "")

    def forward(self, outside_port: int, inside_port: int, lease_s: int) -> None:
        found = self._found
        self._ask(found.addportmapping, outside_port, "TCP", found.lanaddr, inside_port, NAME, "", lease_s)

    def close(self, outside_port: int) -> None:
        self._ask(self._found.deleteportmapping, outside_port, "TCP")

    def _ask(self, question: Callable[..., Any], *given: Any) -> Any:
        try:
            return question(*given)
        except Exception as error:
            raise RouterError(str(error)) from error
