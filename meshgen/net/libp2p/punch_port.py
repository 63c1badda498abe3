"""Connections that leave by the port that is listened on.

A home's router gives each port inside an address outside, and keeps it for all that goes out by that port. So who saw such a
connection saw where this node might be let in, once it has said a word that way itself.
"""

from __future__ import annotations

import socket
from typing import Any

import trio
from libp2p.io.trio import TrioTCPStream
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from meshgen.net.libp2p.reach import own_ips
from meshgen.net.libp2p.reach_probe import place_of
from meshgen.net.libp2p.reach_votes import is_global, is_loopback

SHARED = getattr(socket, "SO_REUSEPORT", None)
"""Without it no two sockets share a port, and nothing here is tried."""
ANY = "0.0.0.0"
"""The system picks the interface that leads there."""


def listen_port(host: Any) -> int | None:
    """The first IPv4 port that is not for this machine alone; None if there is none, or it can't be shared."""
    if SHARED is None:
        return None
    places = (place_of(each.to_bytes()) for each in host.get_transport_addrs())
    return next((port for ip, port in filter(None, places) if ":" not in ip and not is_loopback(ip)), None)


async def knock(port: int, place: tuple[str, int]) -> TrioTCPStream:
    """Connect to an IPv4 place from this port. Raises OSError."""
    assert SHARED is not None
    door = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.setsockopt(socket.SOL_SOCKET, SHARED, 1)
        await door.bind((ANY, port))
        await door.connect(place)
    except BaseException:
        door.close()
        raise
    return TrioTCPStream(trio.SocketStream(door))


def dial_from_listen_port(host: Any) -> None:
    """From now on, what this node dials beyond its router leaves by the port that it listens on."""
    swarm = host.get_network()
    dial = swarm.dial_addr

    async def dial_addr(address: Multiaddr, peer: ID) -> Any:
        reached = bool(swarm.get_connections(peer))  # through a relay: the two ports are for DCUtR then, which says who begins
        port = listen_port(host) if not reached and _leads_through_a_router(address) else None
        if port is not None:
            try:
                return await dial(address, peer, (ANY, port))
            except SwarmException as error:
                if not isinstance(error.__cause__, OpenConnectionError):
                    raise
        return await dial(address, peer)  # an old connection between the same two ports is not over yet, or it is IPv6

    swarm.dial_addr = dial_addr


def _leads_through_a_router(address: Multiaddr) -> bool:
    """From a machine without an address of its own on the internet to one with one."""
    kind, where = str(address).split("/")[1:3]
    beyond = is_global(where) if kind == "ip4" else kind in ("dns", "dns4")
    return beyond and not any(is_global(ip) for ip in own_ips() if ":" not in ip)
