"""Finding peers of the same mesh on the local network by mDNS, without any address to join through.

As libp2p's specification has it for private networks: the service is ``_p2p-X._udp.local``, and X tells meshes apart: a hash,
which says nothing of the mesh's name. So nodes of other meshes neither hear of this one nor are dialled by it. Announced are a
random name, the addresses and the peer id; nothing else.

py-libp2p's own service announces ``0.0.0.0``, which every neighbour would dial as itself; blocks the event loop for 1.5 s when it
starts; writes to the peer store from a thread; and knows nothing of a network that comes later. So this stands on zeroconf.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address
from typing import Any

import trio
from zeroconf import Error, IPVersion, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from meshgen.net.guard import log, shielded
from meshgen.net.libp2p.dial import parse_address
from meshgen.net.port import Unreachable

GOODBYE_S = 3.0
LOOK_S = 15.0
"""So often the own addresses are looked at: a cable, a Wi-Fi or a sleep may have changed them."""
AGAIN_S = 60.0
"""So often neighbours that announce themselves and are not connected are dialled again."""
CROWD = 32
"""How many neighbours are remembered, and how many changes may wait to be looked at."""
AT_ONCE = 4
"""So many are asked and dialled at the same time: one who does not answer keeps nobody else waiting."""
MAX_ADDRESSES = 8
ASK_MS = 3000

Reach = Callable[[Any, list[Any]], Awaitable[None]]
"""(peer, multiaddrs): be connected to it. Raises Unreachable."""
Neighbour = tuple[Any, list[Any]]
"""What a Reach takes."""
Change = tuple[str, bool]
"""The name of a service, and whether it is there."""


async def meet_neighbours(tag: str, addresses: Callable[[], Sequence[str]], reach: Reach) -> None:
    """Announce this peer to its neighbours and ``reach`` those of the same ``tag``, until cancelled.

    Opens nothing as long as this peer listens on loopback alone, or there is no network.
    """
    logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # it warns of each interface that went away
    while True:
        if announced := outside(addresses()):
            try:
                async with _service(f"_p2p-{tag}._udp.local.", announced) as (zeroconf, changes):
                    await _meet(zeroconf, changes, reach, lambda: outside(addresses()) == announced)
            except (OSError, Error) as error:
                log.info("no mDNS for now: %s", error)
        await trio.sleep(LOOK_S)


def outside(addresses: Sequence[str]) -> list[str]:
    """Those that a neighbour could dial."""
    own = ("/ip4/127.", "/ip6/::1/", "/ip4/0.0.0.0/", "/ip6/::/")
    found = (each for each in addresses if each.startswith(("/ip4/", "/ip6/")) and not each.startswith(own))
    return [each for each in found if "/p2p-circuit" not in each][:MAX_ADDRESSES]


async def _meet(zeroconf: Any, changes: trio.MemoryReceiveChannel[Change], reach: Reach, unmoved: Callable[[], bool]) -> None:
    """Until this machine's addresses are others."""
    known: dict[str, Neighbour] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_dial_again, known, reach)
        for _ in range(AT_ONCE):
            nursery.start_soon(_dial_new, zeroconf, changes, known, reach)
        while unmoved():  # noqa: ASYNC110 - networks come and go without an event
            await trio.sleep(LOOK_S)
        nursery.cancel_scope.cancel()


async def _dial_new(zeroconf: Any, changes: trio.MemoryReceiveChannel[Change], known: dict[str, Neighbour], reach: Reach) -> None:
    async for name, there in changes:
        known.pop(name, None)
        neighbour = await _asked(zeroconf, name) if there else None
        if neighbour and len(known) < CROWD:
            known[name] = neighbour
            await _dial(neighbour, reach)


async def _asked(zeroconf: Any, name: str) -> Neighbour | None:
    try:
        info = await trio.to_thread.run_sync(zeroconf.get_service_info, _type_of(name), name, ASK_MS)
    except Error:  # a stranger chose the name, and it is none
        return None
    return read_record(info.text) if info and info.text else None


async def _dial_again(known: dict[str, Neighbour], reach: Reach) -> None:
    while True:
        await trio.sleep(AGAIN_S)
        for neighbour in list(known.values()):
            await _dial(neighbour, reach)


async def _dial(neighbour: Neighbour, reach: Reach) -> None:
    try:
        await reach(*neighbour)
    except Unreachable as error:
        log.info("a neighbour can't be reached: %s", error)


def _type_of(name: str) -> str:
    return name.partition(".")[2]


# -- the record


def make_record(addresses: Sequence[str]) -> bytes:
    """A TXT record: ``dnsaddr=<multiaddr>`` each, as the specification says, which a mapping could not hold."""
    texts = (f"dnsaddr={address}".encode() for address in addresses)
    return b"".join(bytes([len(text)]) + text for text in texts if len(text) < 256)


def read_record(record: bytes) -> Neighbour | None:
    """The peer and its addresses, without those that are none; None if there are none. A stranger wrote it."""
    found: dict[Any, list[Any]] = {}
    for text in _texts(record):
        if text.startswith(b"dnsaddr") and b"=" in text:
            with suppress(ValueError):
                peer, address = parse_address(text.partition(b"=")[2].decode())
                found.setdefault(peer, []).append(address)
    return next(((peer, addresses[:MAX_ADDRESSES]) for peer, addresses in found.items()), None)


def _texts(record: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(record):
        yield record[place + 1 : place + 1 + record[place]]
        place += 1 + record[place]


# -- zeroconf, which lives in threads of its own


@asynccontextmanager
async def _service(kind: str, addresses: Sequence[str]) -> AsyncIterator[tuple[Any, trio.MemoryReceiveChannel[Change]]]:
    """Announced; with what tells who else comes and goes. Raises OSError, zeroconf's Error."""
    send, changes = trio.open_memory_channel[Change](CROWD)
    token = trio.lowlevel.current_trio_token()
    own = f"{secrets.token_hex(16)}.{kind}"

    def changed(name: str, state_change: ServiceStateChange, **_: object) -> None:  # in a thread of zeroconf's
        if name != own:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(_offer, send, (name, state_change is not ServiceStateChange.Removed))

    zeroconf = await trio.to_thread.run_sync(partial(_open, addresses))
    try:
        await trio.to_thread.run_sync(_announce, zeroconf, kind, own, addresses)
        ServiceBrowser(zeroconf, kind, handlers=[changed])
        yield zeroconf, changes
    finally:
        with shielded(GOODBYE_S):
            await trio.to_thread.run_sync(zeroconf.close)


def _open(addresses: Sequence[str]) -> Any:
    return Zeroconf(ip_version=IPVersion.V4Only if any(each.startswith("/ip4/") for each in addresses) else IPVersion.V6Only)


def _announce(zeroconf: Any, kind: str, name: str, addresses: Sequence[str]) -> None:
    hosts = {ip_address(each.split("/")[2]).packed for each in addresses}
    server = f"{name.partition('.')[0]}.local."
    port = int(addresses[0].split("/")[4])
    info = ServiceInfo(kind, name, port, properties=make_record(addresses), server=server, addresses=list(hosts))
    zeroconf.register_service(info, cooperating_responders=True)  # the name is random: nobody needs to be asked for it


def _offer(channel: trio.MemorySendChannel[Change], change: Change) -> None:
    with suppress(trio.WouldBlock, trio.BrokenResourceError):
        channel.send_nowait(change)
