"""A door in the home's router: UPnP or NAT-PMP has it forward a port to this node, so that others dial it directly.

Most homes have no such router, or have it switched off: then nothing happens, and relays do the work. Whether the door leads
anywhere is found out by others, who try it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import trio
from multiaddr import Multiaddr

from meshgen.net.guard import log, shielded
from meshgen.net.libp2p.reach_natpmp import find_natpmp
from meshgen.net.libp2p.reach_probe import tcp_address
from meshgen.net.libp2p.reach_router import Router, RouterError
from meshgen.net.libp2p.reach_votes import is_global, is_loopback

__all__ = ["Router", "RouterError", "Upnp", "find_router", "wants_door"]

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

    def __init__(self, opened: Callable[[Multiaddr | None], None], find: Callable[[], Router | None] | None = None) -> None:
        self._opened = opened
        self._find = find or find_router

    async def run(self, port: int) -> None:
        """Until cancelled."""
        router: Router | None = None
        outside_port = port
        try:
            while True:
                router = router or await _asked(self._find)
                held = None if router is None else await self._forward(router, outside_port, port)
                if held is None:
                    router = None
                    self._opened(None)
                else:
                    outside_port = held[1]
                    self._opened(tcp_address(*held))
                await trio.sleep(AGAIN_S if held is None else RENEW_S)
        finally:
            if router is not None:
                with shielded(2.0):
                    await _asked(router.close, outside_port)

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


def find_router() -> Router | None:
    """The router of this network, if it speaks UPnP or NAT-PMP."""
    try:
        found = _find_upnp()
    except RouterError as error:
        log.debug("UPnP: %s", error)
        found = None
    return found or find_natpmp()


def _find_upnp() -> Router | None:
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
