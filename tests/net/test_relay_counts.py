"""What relays carry of a node's own: counted by itself, and what of it may be paid for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshgen.net.libp2p import relay_client
from meshgen.net.libp2p.relay_client import Circuits
from meshgen.net.port import PeerId, request
from tests.net.conftest import Libp2pWorld
from tests.net.test_relay import ECHO, hub_and


async def test_who_is_sent_bytes_through_a_relay_owes_nothing_for_them(libp2p_world: Libp2pWorld) -> None:
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    assert await request(a, b.peer_id, ECHO, bytes(100_000)) == bytes(100_000)
    assert a.dialled_through()[hub.peer_id] > 200_000, "both ways"
    assert b.relayed() > 200_000
    assert not b.dialled_through(), "whoever dialled pays"


def test_so_many_relays_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_client, "MAX_COUNTED", 2)
    host: Any = SimpleNamespace(get_network=lambda: None, set_stream_handler=lambda *_: None)
    circuits = Circuits(host)
    for relay, count in (("one", 5), ("two", 3), ("three", 4), ("four", 1)):
        circuits._count_dialled(PeerId(relay), count)
    assert circuits.dialled == {"one": 5, "three": 4}
    assert circuits.moved == 13
