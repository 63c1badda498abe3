"""A peer that only looks for its neighbours: ``python -m tests.net.neighbour TAG NUMBER``; prints whom it would dial."""

from __future__ import annotations

import socket
import sys
from typing import Any

import psutil
import trio

from meshgen.net.libp2p import mdns as libp2p_mdns
from tests.net.conftest import identity


def addresses(peer: str) -> list[str]:
    """Of the interface that is up."""
    if not psutil.net_if_stats()["eth0"].isup:
        return [f"/ip4/127.0.0.1/tcp/4711/p2p/{peer}"]
    ips = [each.address for each in psutil.net_if_addrs()["eth0"] if each.family is socket.AF_INET]
    return [f"/ip4/{ip}/tcp/4711/p2p/{peer}" for ip in ips]


async def reach(peer: Any, ways: list[Any]) -> None:
    print("met", peer, *ways, flush=True)


if __name__ == "__main__":
    libp2p_mdns.LOOK_S = 0.3
    own = identity(int(sys.argv[2])).peer_id
    print("looks", flush=True)
    trio.run(libp2p_mdns.meet_neighbours, sys.argv[1], lambda: addresses(own), reach)
