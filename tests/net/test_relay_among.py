"""Whom a relay serves, and who may be one: what is asked is the mesh's, for these tests a set."""

from __future__ import annotations

from typing import Any

import pytest
from libp2p.peer.id import ID

from meshgen.identity import public_key_of
from meshgen.net.libp2p import reach_relays
from meshgen.net.libp2p.relay_switch import IDLE_S
from meshgen.net.libp2p.relay_wire import HOP, HopMessage, Status
from meshgen.net.port import Unreachable, request
from tests.net.conftest import Libp2pWorld, until
from tests.net.test_relay import ECHO, HIDDEN, asked, hub_and


def everybody(_peer: str) -> bool:
    return True


def circuit_to(peer: str) -> HopMessage:
    question = HopMessage(type=HopMessage.CONNECT)
    question.peer.id = ID.from_base58(peer).to_bytes()
    return question


async def test_strangers_get_neither_a_reservation_nor_a_circuit(libp2p_world: Libp2pWorld) -> None:
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    hub.relay_among({a.peer_id, b.peer_id}.__contains__, everybody)
    stranger: Any = await libp2p_world.join(4, **HIDDEN)
    for question in (HopMessage(type=HopMessage.RESERVE), circuit_to(b.peer_id)):
        assert (await asked(stranger, hub.peer_id, HOP, question, HopMessage)).status == Status.PERMISSION_DENIED
    assert not stranger.reach().relays
    assert await request(a, b.peer_id, ECHO, b"members") == b"members"


async def test_an_idle_circuit_ends_until_it_is_dialled_again_and_so_does_one_of_who_belongs_no_longer(
    libp2p_world: Libp2pWorld,
) -> None:
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    assert await request(a, b.peer_id, ECHO, b"one") == b"one"
    for circuit in hub._ways.relay._switch._open:
        circuit.heard_s = -IDLE_S
    hub._ways.relay.sweep()
    await until(lambda: not hub._ways.relay.circuits)
    assert await request(a, b.peer_id, ECHO, b"two") == b"two"
    hub.relay_among({a.peer_id}.__contains__, everybody)
    hub._ways.relay.sweep()
    await until(lambda: not hub._ways.relay.circuits)
    assert hub._ways.relay.reservations == 1
    await until(lambda: not any(link.peer == b.peer_id for link in a.links()))


async def test_who_does_not_belong_is_no_relay(libp2p_world: Libp2pWorld) -> None:
    hub, a = await hub_and(libp2p_world, 2)
    a.relay_among(everybody, lambda peer: peer != hub.peer_id)
    a._ways.relays.wake()
    await until(lambda: not a.reach().relays)
    assert not a.addresses()
    a.relay_among(everybody, everybody)
    a._ways.relays.wake()
    await until(lambda: a.reach().relays == (hub.peer_id,))


RSA = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"


async def look_up(net: Any, found: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which of the relays that the table names are dialled; none of them answers."""
    dialled: list[str] = []

    async def find() -> list[str]:
        return found

    async def connect(relay: ID) -> None:
        dialled.append(str(relay))
        raise Unreachable("nobody there")

    monkeypatch.setattr(net._ways.relays, "_find", find)
    monkeypatch.setattr(net._ways.relays, "_connect", connect)
    await net._ways.relays._look_up()
    return dialled


async def test_what_the_table_names_and_no_peer_can_be_is_no_relay(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    net: Any = await libp2p_world.join(1, **HIDDEN)
    net.relay_among(everybody, lambda peer: bool(public_key_of(peer)))
    assert await look_up(net, [RSA], monkeypatch) == []


async def test_a_relay_that_could_not_be_dialled_is_dialled_again_later(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await libp2p_world.join(1)
    net: Any = await libp2p_world.join(2, **HIDDEN)
    assert await look_up(net, [other.peer_id], monkeypatch) == [other.peer_id]
    assert await look_up(net, [other.peer_id], monkeypatch) == [], "too soon"
    monkeypatch.setattr(reach_relays, "AGAIN_MOST_S", 0.0)
    for _ in range(1100):  # a week of it
        net._ways.relays._note_refusal(ID.from_base58(other.peer_id))
    assert await look_up(net, [other.peer_id], monkeypatch) == [other.peer_id]


async def test_who_was_refused_is_taken_on_as_soon_as_it_belongs(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach_relays, "AGAIN_FIRST_S", 600.0)
    hub, _ = await hub_and(libp2p_world, 2)
    members: set[str] = set()
    hub.relay_among(members.__contains__, everybody)
    newcomer: Any = await libp2p_world.join(4, **HIDDEN)
    await newcomer.connect(hub.addresses()[0])
    await until(lambda: newcomer._ways.relays._refused)
    members.add(newcomer.peer_id)
    newcomer.relay_among(everybody, everybody)
    await until(lambda: newcomer.reach().relays)
