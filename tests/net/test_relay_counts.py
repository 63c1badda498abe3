"""What a node counts of the circuits that end here, and what it takes of them; without a network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from libp2p.peer.id import ID

from meshgen.net.libp2p import relay_client
from meshgen.net.libp2p.relay_client import Circuits
from meshgen.net.libp2p.relay_wire import Status, StopMessage
from meshgen.net.port import PeerId
from tests.net.conftest import identity


@pytest.fixture
def circuits() -> Circuits:
    host: Any = SimpleNamespace(get_network=lambda: None, set_stream_handler=lambda *_: None)
    return Circuits(host)


def test_so_many_relays_are_counted_one_by_one(circuits: Circuits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_client, "MAX_COUNTED", 2)
    for relay, count in (("one", 5), ("two", 3), ("three", 4), ("four", 1)):
        circuits._count_dialled(PeerId(relay), count)
    assert circuits.dialled == {"one": 5, "three": 4}
    assert circuits.moved == 13


def test_so_many_circuits_are_taken(circuits: Circuits) -> None:
    relay, source = (ID.from_base58(identity(number).peer_id) for number in (1, 2))
    question = StopMessage(type=StopMessage.CONNECT)
    question.peer.id = source.to_bytes()
    circuits.expected.add(relay)
    circuits._taken = relay_client.MAX_TAKEN - 1
    assert circuits._judge(relay, question) == Status.OK
    circuits._taken += 1
    assert circuits._judge(relay, question) == Status.RESOURCE_LIMIT_EXCEEDED
