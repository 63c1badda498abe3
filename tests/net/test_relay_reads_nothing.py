"""A relay carries bytes that it can't read, and can't put its own in their place."""

from __future__ import annotations

import pytest

from meshgen.net.libp2p.relay_wire import Pipe
from meshgen.net.port import Unreachable, request
from tests.net.conftest import Libp2pWorld
from tests.net.test_relay import ECHO, hub_and

SECRET = b"what nobody between may read" * 20


async def test_a_relay_sees_nothing_in_clear(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    carried, take = bytearray(), Pipe.take

    async def noted(pipe: Pipe) -> bytes:
        data = await take(pipe)
        carried.extend(data)
        return data

    monkeypatch.setattr(Pipe, "take", noted)
    _, a, b = await hub_and(libp2p_world, 2, 3)
    assert await request(a, b.peer_id, ECHO, SECRET) == SECRET
    assert len(carried) > 2 * len(SECRET), "it went through the relay, both ways"
    assert SECRET[:28] not in carried
    assert ECHO.encode() not in carried, "nor what it was about"


async def test_a_relay_that_changes_a_byte_breaks_the_circuit_and_nothing_else(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, a, b = await hub_and(libp2p_world, 2, 3)
    assert await request(a, b.peer_id, ECHO, b"untouched") == b"untouched"
    take = Pipe.take

    async def changed(pipe: Pipe) -> bytes:
        data = bytearray(await take(pipe))
        if data:
            data[-1] ^= 1
        return bytes(data)

    monkeypatch.setattr(Pipe, "take", changed)
    with pytest.raises(Unreachable):
        await request(a, b.peer_id, ECHO, SECRET)
    monkeypatch.setattr(Pipe, "take", take)
    assert await request(a, b.peer_id, ECHO, b"on a fresh circuit") == b"on a fresh circuit"
