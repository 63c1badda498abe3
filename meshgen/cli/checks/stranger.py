"""A stranger at the doors of a mesh: a key of the moment, which connects, says good day, looks something up and leaves.

So a hub is seen as a newcomer would see it, whether the own node runs or not, and the DHT from outside.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from meshgen.net.port import Net
    from meshgen.protocols.advert import Advert

DIAL_S = 3.0
VISIT_S = 15.0
MAX_DOORS = 8
How = Literal["speaks", "reserved", "refuses", "closed"]


@dataclass(frozen=True, slots=True)
class Visit:
    """``how``: speaks this protocol; reserved: is the node that the address names, but answers no strangers; refuses: something
    listens that is not that node; closed: nothing listens."""

    how: How
    why: str = ""
    net: str = ""
    """The mesh that it is in, as hex digits."""
    ahead_s: float | None = None
    """How far this machine's clock is ahead of the one there, to within a quarter of a minute."""
    found: bool | None = None
    """Did it find the own node's advert for a stranger? None: it was not asked."""


def visit_all(home: Path, addresses: tuple[str, ...], own: str) -> dict[str, Visit]:
    """``own``: the peer id whose advert is looked up; "" = none is."""
    found = {address: Visit("closed", why) for address in addresses if (why := _why_closed(address))}
    open_ones = [address for address in addresses if address not in found][:MAX_DOORS]
    return found | (_visited(home, open_ones, own) if open_ones else {})


def _why_closed(address: str) -> str:
    _, _, host, _, port = address.split("/")[:5]
    try:
        socket.create_connection((host, int(port)), DIAL_S).close()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _visited(home: Path, addresses: list[str], own: str) -> dict[str, Visit]:
    import trio

    from meshgen.identity import Identity
    from meshgen.net.libp2p import open_libp2p
    from meshgen.peers.charter_file import CharterError
    from meshgen.peers.directory import table_rules
    from meshgen.peers.mesh_key import mesh_key
    from meshgen.peers.peer import system_ms

    found: dict[str, Visit] = {}
    try:
        psk = mesh_key(home)
    except CharterError:  # the check of the mesh says so
        return found

    async def go() -> None:
        stranger, listen = Identity.from_seed(os.urandom(32)), ["/ip4/127.0.0.1/tcp/0"]
        async with open_libp2p(stranger, listen, table=table_rules(system_ms), psk=psk) as net:
            for address in addresses:
                found[address] = Visit("refuses", f"no answer within {VISIT_S:.0f} s")
                with trio.move_on_after(VISIT_S):
                    found[address] = await _visit(net, address, own)

    trio.run(go)
    return found


async def _visit(net: Net, address: str, own: str) -> Visit:
    from meshgen.net.port import NetError, PeerId
    from meshgen.peers.directory import advert_key

    try:
        peer = await net.connect(address)
    except NetError as error:
        return Visit("refuses", str(error))
    try:
        advert = await _introduced(net, peer)
        looked_up = await net.get_value(advert_key(PeerId(own))) if own else None
    except NetError as error:
        return Visit("reserved", str(error))
    if advert is None:
        return Visit("reserved", "it introduces nobody")
    said_s = (advert.seq + (advert.expires_ms - advert.seq) / 6) / 1000  # within the third of its life that it is the last
    return Visit("speaks", "", advert.net.hex(), _rounded(time.time() - said_s), bool(looked_up) if own else None)


async def _introduced(net: Net, peer: str) -> Advert | None:
    """The advert of the node there."""
    from meshgen.net.port import PeerId, request
    from meshgen.peers.directory import PRESENCE_PROTOCOL
    from meshgen.protocols.advert import Advert
    from meshgen.protocols.codec import Limits, Malformed, decode
    from meshgen.protocols.envelope import unsign

    answer = await request(net, PeerId(peer), PRESENCE_PROTOCOL, b"")
    try:
        wires = decode(answer, Limits(max_bytes=2**20, max_items=64, max_depth=1))
        adverts = [unsign(wire, Advert) for wire in wires if isinstance(wire, bytes)] if isinstance(wires, tuple) else []
    except Malformed:
        return None
    return next((signed.message for signed in adverts if signed.peer == peer), None)


def _rounded(seconds: float) -> float:
    """What is less than half of the time between two adverts says nothing."""
    return 0.0 if abs(seconds) <= 20 else seconds
