"""One port by which everything leaves that goes out through the router.

A home's router gives each port inside an address outside, and keeps it for all that goes out by that port. So who saw such a
connection saw where this node might be let in, once it has said a word that way itself. It is not the port that is listened on: a
router that lets in whoever was dialled by a port would make each peer that was dialled find that one open, and it is not.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio
from libp2p.io.trio import TrioTCPStream
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from meshgen.net.libp2p.reach import own_ips
from meshgen.net.libp2p.reach_votes import is_global

SHARED = getattr(socket, "SO_REUSEPORT", None)
"""Without it no two sockets share a port, and nothing here is tried."""
ANY = "0.0.0.0"
"""The system picks the interface that leads there."""


@contextmanager
def _held_port() -> Iterator[int | None]:
    """Nobody else has or gets it; None where it can't be shared. IPv4, as all here: with IPv6 homes have no such routers."""
    if SHARED is None:
        yield None
        return
    with socket.socket() as holder:
        holder.bind((ANY, 0))
        holder.setsockopt(socket.SOL_SOCKET, SHARED, 1)
        yield int(holder.getsockname()[1])


async def knock(port: int, place: tuple[str, int]) -> TrioTCPStream:
    """Connect from this port. Raises OSError."""
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


@contextmanager
def leave_by_one_port(host: Any) -> Iterator[None]:
    """Meanwhile, what this host dials beyond its router leaves by ``host.outward_port``; None = by any."""
    swarm = host.get_network()
    dial = swarm.dial_addr

    async def dial_addr(address: Multiaddr, peer: ID) -> Any:
        reached = bool(swarm.get_connections(peer))  # through a relay: the two ports are for DCUtR then, which says who begins
        if host.outward_port is not None and not reached and _leads_through_a_router(address):
            try:
                return await dial(address, peer, (ANY, host.outward_port))
            except SwarmException as error:
                if not _was_the_port(error):
                    raise
        return await dial(address, peer)

    swarm.dial_addr = dial_addr
    with _held_port() as host.outward_port:
        yield


def _was_the_port(error: SwarmException) -> bool:
    """An old connection between the same two ports is not over yet; or a name led to an IPv6 address."""
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, OSError) and reason.errno is not None:
            return reason.errno in (errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EAFNOSUPPORT, errno.EINVAL)
        reason = reason.__cause__
    return isinstance(error.__cause__, OpenConnectionError)


def _leads_through_a_router(address: Multiaddr) -> bool:
    """From a machine without an address of its own on the internet to one with one."""
    kind, where = str(address).split("/")[1:3]
    beyond = is_global(where) if kind == "ip4" else kind in ("dns", "dns4")
    return beyond and not any(is_global(ip) for ip in own_ips() if ":" not in ip)
