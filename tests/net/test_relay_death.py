"""A relay that dies: who was reached through it soon is through another one, and two who need each other's don't wait in vain."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from libp2p.peer.id import ID

from meshgen.net.libp2p import RelayLimits, reach_relays
from meshgen.net.port import request
from tests.net.conftest import Libp2pWorld, echo, until
from tests.net.test_relay import ECHO, HIDDEN, hub_and

BOUND_S = 8.0
"""A reservation at a relay at hand takes no clock's tick; one that has to be looked up, a look-up."""


async def test_a_peer_is_reached_again_through_a_relay_at_hand(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach_relays, "WANTED", 1)
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    other = await libp2p_world.join(4, relay=RelayLimits())
    for net in (a, b):
        await net.connect(other.addresses()[0])
    assert await request(a, b.peer_id, ECHO, b"before") == b"before"
    assert b.reach().relays == (hub.peer_id,)
    await libp2p_world.kill(hub)
    await until(lambda: b.reach().relays == (other.peer_id,), BOUND_S)
    assert b.addresses() == [f"{other.addresses()[0]}/p2p-circuit/p2p/{b.peer_id}"]
    a.consult(lambda _peer: b.addresses())
    assert await request(a, b.peer_id, ECHO, b"after") == b"after"


async def test_a_relay_that_is_not_at_hand_is_looked_up_at_once(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach_relays, "WANTED", 1)
    hub, b = await hub_and(libp2p_world, 2)
    other = await libp2p_world.join(3, relay=RelayLimits())

    async def find() -> list[str]:
        await b.connect(other.addresses()[0])
        return [other.peer_id]

    monkeypatch.setattr(b._ways.relays, "_find", find)
    b._ways.relays._look_up_at_s = trio.current_time() + reach_relays.LOOK_UP_S  # it has just looked
    await libp2p_world.kill(hub)
    await until(lambda: b.reach().relays == (other.peer_id,), BOUND_S)


async def test_two_relays_that_are_dialled_through_each_other(libp2p_world: Libp2pWorld) -> None:
    """The dial of one needs the other's, and the other's the one's."""
    one: Any = await libp2p_world.join(1, relay=RelayLimits())
    other: Any = await libp2p_world.join(2, relay=RelayLimits())
    for holder, keeper in ((one, other), (other, one)):
        await holder._ways.relays._reserve(ID.from_base58(keeper.peer_id))
        holder.serve(ECHO, echo)
    ways = {
        one.peer_id: f"{other.addresses()[0]}/p2p-circuit/p2p/{one.peer_id}",
        other.peer_id: f"{one.addresses()[0]}/p2p-circuit/p2p/{other.peer_id}",
    }
    async with libp2p_world.opened(3, dict(HIDDEN)) as net:
        net.consult(lambda peer: [ways[peer]])
        with trio.fail_after(BOUND_S):
            async with trio.open_nursery() as nursery:
                for peer in ways:
                    nursery.start_soon(request, net, peer, ECHO, b"there")
