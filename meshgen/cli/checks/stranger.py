"""A stranger at the doors of a mesh: a key of the moment, which connects, says good day, looks something up and leaves.

So a hub is seen as a newcomer would see it, whether the own node runs or not, and the DHT from outside.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from math import copysign
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from meshgen.net.port import Net
    from meshgen.protocols.advert import Advert

DIAL_S = 3.0
VISIT_S = 15.0
MAX_DOORS = 8
NEAR_S = 20.0
"""A clock that is off by no more than this may be right."""
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
    """How far this machine's clock is at least ahead of the one there, give or take 15 s; 0 if it may be right."""
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
    ahead_s = ahead_of(advert.seq, advert.expires_ms, round(time.time() * 1000))
    return Visit("speaks", "", advert.net.hex(), ahead_s, bool(looked_up) if own else None)


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


def ahead_of(said_ms: int, expires_ms: int, now_ms: int) -> float:
    """Seconds by which ``now_ms`` is ahead of the clock of a node that still says what it said at ``said_ms``: it does so for a
    third of the advert's life, which grows with the mesh; for all of it where it is as long as it may be."""
    from meshgen.protocols.advert import MAX_LIFETIME_MS

    life_ms = expires_ms - said_ms
    half_s = life_ms / 2000 if life_ms >= MAX_LIFETIME_MS else life_ms / 6000
    middle_s = (now_ms - said_ms) / 1000 - half_s
    certain_s = abs(middle_s) - max(0.0, half_s - NEAR_S)
    return copysign(certain_s, middle_s) if certain_s > NEAR_S else 0.0
