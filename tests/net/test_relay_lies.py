"""What a relay says that is not so: where it is, and whom it brings."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from meshgen.net.libp2p import relay_client
from meshgen.net.libp2p.reach_probe import answers_at, tcp_address
from meshgen.net.port import NetError, request
from tests.net.conftest import Libp2pWorld, identity, until
from tests.net.test_relay import ECHO, hub_and

TRUE, THIRD, AT_HOME = (tcp_address(ip, 4711) for ip in ("5.77.0.1", "5.77.0.2", "192.168.0.9"))


async def test_only_where_a_relay_is_others_are_told_to_dial(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Multiaddr] = []

    async def look(_swarm: Any, _peer: ID, address: Multiaddr) -> bool:
        looked.append(address)
        return address == TRUE

    monkeypatch.setattr(relay_client, "answers_at", look)
    hub, a = await hub_and(libp2p_world, 2)
    where = Multiaddr(hub.addresses()[0].partition("/p2p/")[0])
    relay = ID.from_base58(hub.peer_id)

    async def told(*addresses: Multiaddr) -> list[str]:
        found = await a._ways._circuits._addresses(relay, [each.to_bytes() for each in addresses])
        return [str(each).partition("/p2p/")[0] for each in found]

    assert await told(where, THIRD, AT_HOME) == [str(where)]
    assert looked == [THIRD], "nobody looks into others' homes"
    assert await told(TRUE.encapsulate(Multiaddr(f"/p2p/{relay}"))) == [str(where), str(TRUE)]
    assert await told(*[tcp_address("5.77.1.1", port) for port in range(1, 20)]) == [str(where)]
    assert len(looked) == 3, "one place is free, so one is looked at"
    nearby = tcp_address("127.0.0.1", 1)
    assert await told(nearby) == [str(where), str(nearby)], "it is connected there"
    for peer, place, found in ((relay, where, True), (a._host.get_id(), where, False), (relay, nearby, False)):
        assert await answers_at(a._swarm, peer, place) is found


async def test_who_is_not_whom_the_relay_named_is_hung_up_on(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    relay, other = hub._ways.relay, ID.from_base58(identity(9).peer_id)
    ask = relay._ask
    monkeypatch.setattr(relay, "_ask", lambda _source, target: ask(other, target))
    with suppress(NetError):  # it may notice before it has its answer, or after
        await request(a, b.peer_id, ECHO, b"who?")
    await until(lambda: not relay.circuits)
    assert not any(link.peer == a.peer_id for link in b.links())
