"""Joining through addresses of which some lead nowhere."""

from __future__ import annotations

import socket

from meshgen.net.guard import DIAL_TIMEOUT_S
from tests.net.conftest import Libp2pWorld, until


async def test_a_peers_dead_address_does_not_keep_its_good_one_waiting(libp2p_world: Libp2pWorld) -> None:
    hub = await libp2p_world.join(1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}/p2p/{hub.peer_id}"
        for ways in ([dead, *hub.addresses()], [*hub.addresses(), dead]):
            async with libp2p_world.opened(2, {"bootstrap": ways}) as net:
                await until(net.links, DIAL_TIMEOUT_S - 1)
