"""Joining through addresses of which some lead nowhere."""

from __future__ import annotations

import math
import socket

import pytest

from meshgen.net.guard import DIAL_TIMEOUT_S
from meshgen.net.port import PeerId, Unreachable
from tests.net.conftest import Libp2pWorld, identity, until


async def test_a_peers_dead_address_does_not_keep_its_good_one_waiting(libp2p_world: Libp2pWorld) -> None:
    hub = await libp2p_world.join(1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}/p2p/{hub.peer_id}"
        for ways in ([dead, *hub.addresses()], [*hub.addresses(), dead]):
            async with libp2p_world.opened(2, {"bootstrap": ways}) as net:
                await until(net.links, DIAL_TIMEOUT_S - 1)


async def test_nobody_dials_whom_he_keeps_out(libp2p_world: Libp2pWorld) -> None:
    """Not as a bootstrap peer either, which is dialled again and again."""
    blocked = PeerId(identity(2).peer_id)
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        async with libp2p_world.opened(1, {}) as net:
            await net.drop(blocked, math.inf)
            with pytest.raises(Unreachable, match="kept out"):
                await net.dialer.connect(f"/ip4/127.0.0.1/tcp/{door.getsockname()[1]}/p2p/{blocked}")
        with pytest.raises(BlockingIOError):
            door.accept()
