"""Nodes that nobody can dial, and what carries them: reservations, circuits, their limits and their ends."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
import trio
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from meshgen.net.libp2p import RelayLimits, relay
from meshgen.net.libp2p import reach_direct as libp2p_reach_direct
from meshgen.net.libp2p.relay_switch import CIRCUITS_PER_PAIR
from meshgen.net.libp2p.relay_wire import HOP, QUESTIONS, STOP, HopMessage, Pipe, Status, StopMessage
from meshgen.net.port import CHUNK_BYTES, Channel, Net, Unreachable, request
from tests.net.conftest import Libp2pWorld, echo, identity, until

ECHO = "/test/echo/1"
MIB = 1024 * 1024
HIDDEN: dict[str, Any] = {"listen": []}


async def hub_and(world: Libp2pWorld, *numbers: int, **limits: Any) -> list[Any]:
    """A relay, and nodes that listen nowhere and hold a reservation there."""
    hub = await world.join(1, relay=RelayLimits(**limits))
    hidden = [await world.join(number, **HIDDEN) for number in numbers]
    for net in hidden:
        net.serve(ECHO, echo)
        await until(lambda net=net: net.reach().relays)
    return [hub, *hidden]


async def asked(net: Any, peer: str, protocol: str, message: Any, answer: type[Any]) -> Any:
    pipe = Pipe(await net._host.new_stream(ID.from_base58(peer), [protocol]))
    await pipe.say(message)
    return await pipe.hear(answer)


# -- being reached


async def test_two_hidden_nodes_reach_each_other(libp2p_world: Libp2pWorld) -> None:
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    assert b.reach().state == "private"
    assert b.reach().relays == (hub.peer_id,)
    assert b.addresses() == [f"{hub.addresses()[0]}/p2p-circuit/p2p/{b.peer_id}"]
    assert await request(a, b.peer_id, ECHO, b"through a third") == b"through a third"
    [link] = [link for link in a.links() if link.peer == b.peer_id]
    assert link.relayed
    assert link.outbound
    assert a.dialled_through() == {hub.peer_id: a.relayed()}
    assert a.relayed() > 0
    assert b.relayed() > 0
    assert not b.dialled_through(), "whoever dialled pays"
    assert hub.carried() > 0


async def test_a_circuits_address_can_be_dialled_from_outside(libp2p_world: Libp2pWorld) -> None:
    hub, b = await hub_and(libp2p_world, 2)
    async with libp2p_world.opened(3, {}) as c:
        assert await c.connect(b.addresses()[0]) == b.peer_id
        assert {link.peer for link in c.links()} == {hub.peer_id, b.peer_id}


async def test_gossip_and_the_table_work_through_circuits(libp2p_world: Libp2pWorld) -> None:
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    await a.connect(b.addresses()[0])
    await until(lambda: any(link.peer == a.peer_id and link.relayed for link in b.links()))
    async with b.subscribe("/test/topic", lambda _peer, _data: True) as heard:
        await until(lambda: "/test/topic" in a._pubsub.peer_topics)
        await a.publish("/test/topic", b"news")
        with trio.fail_after(10):
            assert (await anext(aiter(heard))).data == b"news"
    await b.put_value("/meshgen/x", b"v1")
    assert await hub.get_value("/meshgen/x") == b"v1"


async def test_nodes_that_reach_each_other_need_no_relay(libp2p_world: Libp2pWorld) -> None:
    hub = await libp2p_world.join(1, relay=RelayLimits())
    a = await libp2p_world.join(2)
    await request_of(hub, a)
    assert a.reach().relays == hub.reach().relays == ()
    assert all("p2p-circuit" not in address for address in a.addresses())
    assert not hub._ways.relay.reservations  # type: ignore[attr-defined]


async def request_of(hub: Any, a: Any) -> None:
    hub.serve(ECHO, echo)
    assert await request(a, hub.peer_id, ECHO, b"x") == b"x"


async def test_watchers_hear_of_new_addresses(libp2p_world: Libp2pWorld) -> None:
    hub = await libp2p_world.join(1, relay=RelayLimits())
    told: list[list[str]] = []
    async with libp2p_world.opened(2, dict(HIDDEN)) as a:
        a.watch_reach(lambda: told.append(a.addresses()))
        await a.connect(hub.addresses()[0])
        await until(lambda: told and told[-1])
        assert "p2p-circuit" in told[-1][0]


async def test_an_address_book_is_asked_before_the_network(libp2p_world: Libp2pWorld) -> None:
    _hub, b = await hub_and(libp2p_world, 2)
    async with libp2p_world.opened(3, {}) as c:
        c.consult(lambda peer: ["/no/address", *b.addresses()] if peer == b.peer_id else [])
        assert await request(c, b.peer_id, ECHO, b"found") == b"found"


# -- transfers


async def test_big_transfers_both_ways_at_once_arrive_whole(libp2p_world: Libp2pWorld) -> None:
    _hub, a, b = await hub_and(libp2p_world, 2, 3)
    rng = random.Random(seed := 7)
    parts = [[rng.randbytes(CHUNK_BYTES) for _ in range(8)] for _ in range(4)]

    async def swap(net: Net, peer: Any, mine: list[bytes]) -> None:
        digest = hashlib.sha256()
        async with net.open(peer, ECHO) as channel, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: channel.send(*mine, last=True))
            while (message := await channel.receive()) is not None:
                digest.update(message)
        assert digest.digest() == hashlib.sha256(b"".join(mine)).digest(), f"seed {seed}"

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number, mine in enumerate(parts):
                nursery.start_soon(swap, *((a, b.peer_id) if number % 2 else (b, a.peer_id)), mine)


async def test_a_slow_reader_holds_up_the_sender_and_not_the_relay(libp2p_world: Libp2pWorld) -> None:
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    may_read = trio.Event()

    async def lazy(channel: Channel) -> None:
        await may_read.wait()
        while await channel.receive() is not None:
            pass
        await channel.send(b"all read")

    b.serve("/test/lazy/1", lazy)
    hub.serve(ECHO, echo)
    async with a.open(b.peer_id, "/test/lazy/1") as channel, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: channel.send(*[bytes(MIB)] * 16, last=True))
        last = -1
        while hub.carried() != last:  # until nothing moves any more
            last = hub.carried()
            await trio.sleep(0.3)
        assert last < 10 * MIB
        assert await request(a, hub.peer_id, ECHO, b"alive") == b"alive"
        may_read.set()
        with trio.fail_after(60):
            assert await channel.receive() == b"all read"


# -- relays come and go


async def test_a_relay_that_dies_ends_its_circuits_and_another_takes_over(libp2p_world: Libp2pWorld) -> None:
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    second = await libp2p_world.join(4, relay=RelayLimits())
    for net in (a, b):
        await net.connect(second.addresses()[0])
        await until(lambda net=net: len(net.reach().relays) == 2)
    a.consult(lambda _peer: b.addresses())
    broken: list[str] = []

    async def ask_on(net: Any, peer: str) -> None:
        try:
            async with net.open(peer, ECHO) as channel:
                while True:
                    await channel.send(bytes(CHUNK_BYTES))
                    await channel.receive()
        except Unreachable:
            broken.append(peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_on, a, b.peer_id)
        await until(lambda: hub.carried() + second.carried() > 0)  # at the same time, they might dial through one relay each
        nursery.start_soon(ask_on, b, a.peer_id)
        await until(lambda: hub.carried() + second.carried() > 2 * MIB)
        carrier, other = (hub, second) if hub.carried() > second.carried() else (second, hub)
        await libp2p_world.kill(carrier)
        with trio.fail_after(10):
            while len(broken) < 2:  # noqa: ASYNC110 - what libp2p does has no event
                await trio.sleep(0.01)
    await until(lambda: a.reach().relays == b.reach().relays == (other.peer_id,))
    assert await request(a, b.peer_id, ECHO, b"again") == b"again"


async def test_reservations_are_renewed(libp2p_world: Libp2pWorld) -> None:
    hub, a = await hub_and(libp2p_world, 2, reservation_s=2.0)
    until_s = hub._ways.relay._reserved.copy()
    await until(lambda: all(hub._ways.relay._reserved[peer] > before for peer, before in until_s.items()))
    assert a.reach().relays == (hub.peer_id,)


async def test_a_lost_relay_is_reserved_at_again_when_it_is_back(libp2p_world: Libp2pWorld) -> None:
    hub, a = await hub_and(libp2p_world, 2)
    await a.drop(hub.peer_id)
    await until(lambda: not a.reach().relays and not a.addresses())
    await a.connect(hub.addresses()[0])
    await until(lambda: a.reach().relays == (hub.peer_id,))


# -- what a relay refuses


async def test_a_full_relay_refuses_and_says_so(libp2p_world: Libp2pWorld) -> None:
    hub, a = await hub_and(libp2p_world, 2, reservations=1)
    other = await libp2p_world.join(3, **HIDDEN)
    answer = await asked(other, hub.peer_id, HOP, HopMessage(type=HopMessage.RESERVE), HopMessage)
    assert answer.status == Status.RESERVATION_REFUSED
    assert not other.reach().relays
    assert a.reach().relays


async def test_one_address_holds_so_many_reservations(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "household", lambda _connection: "192.0.2.1")
    monkeypatch.setattr(relay, "RESERVATIONS_PER_HOUSEHOLD", 1)
    hub, a = await hub_and(libp2p_world, 2)
    b: Any = await libp2p_world.join(3, **HIDDEN)
    refused = await asked(b, hub.peer_id, HOP, HopMessage(type=HopMessage.RESERVE), HopMessage)
    assert refused.status == Status.RESERVATION_REFUSED
    renewed = await asked(a, hub.peer_id, HOP, HopMessage(type=HopMessage.RESERVE), HopMessage)
    assert renewed.status == Status.OK


async def test_circuits_a_peer_are_limited(libp2p_world: Libp2pWorld) -> None:
    hub, a, b, c = await hub_and(libp2p_world, 2, 3, 4, circuits_per_peer=1)
    await a.connect(b.addresses()[0])
    with pytest.raises(Unreachable, match="as many circuits as it wants to"):
        await c.connect(b.addresses()[0])
    await a.drop(b.peer_id)
    await until(lambda: not hub._ways.relay.circuits)
    assert await c.connect(b.addresses()[0]) == b.peer_id


async def test_one_peer_can_not_take_up_all_that_another_is_granted(libp2p_world: Libp2pWorld) -> None:
    hub, a, b, c = await hub_and(libp2p_world, 2, 3, 4)
    question = HopMessage(type=HopMessage.CONNECT)
    question.peer.id = ID.from_base58(b.peer_id).to_bytes()
    answers = [(await asked(a, hub.peer_id, HOP, question, HopMessage)).status for _ in range(CIRCUITS_PER_PAIR + 1)]
    assert answers == [Status.OK] * CIRCUITS_PER_PAIR + [Status.RESOURCE_LIMIT_EXCEEDED]
    assert await request(c, b.peer_id, ECHO, b"room for others") == b"room for others"


async def test_nobody_is_led_to_who_made_no_reservation(libp2p_world: Libp2pWorld) -> None:
    hub, a = await hub_and(libp2p_world, 2)
    visible = await libp2p_world.join(3)
    with pytest.raises(Unreachable, match="knows no way to the peer"):
        await a.connect(f"{hub.addresses()[0]}/p2p-circuit/p2p/{visible.peer_id}")
    with pytest.raises(Unreachable, match="is no relay"):
        await a.connect(f"{visible.addresses()[0]}/p2p-circuit/p2p/{identity(9).peer_id}")


async def test_a_node_that_is_no_relay_takes_no_reservation(libp2p_world: Libp2pWorld) -> None:
    hub = await libp2p_world.join(1)
    a: Any = await libp2p_world.join(2, **HIDDEN)
    with pytest.raises(Unreachable, match="is no relay"):
        await a._ways._circuits.reserve(ID.from_base58(hub.peer_id))


async def test_a_circuit_comes_in_only_from_a_relay_that_was_asked(libp2p_world: Libp2pWorld) -> None:
    hub, a = await hub_and(libp2p_world, 2)
    stranger: Any = await libp2p_world.join(3)
    await a.connect(stranger.addresses()[0])
    question = StopMessage(type=StopMessage.CONNECT)
    question.peer.id = ID.from_base58(hub.peer_id).to_bytes()
    answer = await asked(stranger, a.peer_id, STOP, question, StopMessage)
    assert answer.status == Status.PERMISSION_DENIED


JUNK = {
    "empty": b"\x00",
    "no message": b"\x05" + b"\xff" * 5,
    "endless length": b"\xff" * 5,
    "too long": b"\xff\x7f" + bytes(5000),
    "unknown kind": b"\x02\x08\x63",
    "nothing": b"",
}


@pytest.mark.parametrize("protocol", [HOP, STOP])
async def test_garbage_harms_nobody(libp2p_world: Libp2pWorld, protocol: str) -> None:
    hub, a, b = await hub_and(libp2p_world, 2, 3)
    asker, target = (a, hub.peer_id) if protocol == HOP else (hub, a.peer_id)
    for junk in JUNK.values():
        stream = await asker._host.new_stream(ID.from_base58(target), [protocol])
        try:
            await stream.write(junk)
            await stream.close()
        except IOException:
            pass  # it was reset already
    assert await request(a, b.peer_id, ECHO, b"alive") == b"alive"


async def test_who_opens_streams_and_says_nothing_gets_no_more(libp2p_world: Libp2pWorld) -> None:
    hub, a = await hub_and(libp2p_world, 2)
    silent = [await a._host.new_stream(ID.from_base58(hub.peer_id), [HOP]) for _ in range(QUESTIONS)]
    with pytest.raises((IOException, StreamFailure)):
        await asked(a, hub.peer_id, HOP, HopMessage(type=HopMessage.RESERVE), HopMessage)
    for stream in silent:
        await stream.reset()
    await until(lambda: not hub._ways.relay._questions._open)
    assert (await asked(a, hub.peer_id, HOP, HopMessage(type=HopMessage.RESERVE), HopMessage)).status == Status.OK


async def test_a_relay_with_limits_too_low_for_a_picture_is_not_used(
    libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Pipe.say

    async def limited(pipe: Pipe, message: Any) -> None:
        if isinstance(message, HopMessage) and message.HasField("reservation"):
            message.limit.data = 128 * 1024
        await said(pipe, message)

    monkeypatch.setattr(Pipe, "say", limited)
    hub = await libp2p_world.join(1, relay=RelayLimits())
    a: Any = await libp2p_world.join(2, **HIDDEN)
    with pytest.raises(Unreachable, match="sooner than a picture is sent"):
        await a._ways._circuits.reserve(ID.from_base58(hub.peer_id))
    assert not a.reach().relays


# -- a direct way after all


async def test_a_relayed_connection_gives_way_to_a_direct_one(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_reach_direct, "LOOK_S", 0.2)
    hub, b = await hub_and(libp2p_world, 2)
    c: Any = await libp2p_world.join(3)
    b_to_c = f"{hub.addresses()[0]}/p2p-circuit/p2p/{b.peer_id}"
    await c.connect(b_to_c)
    assert [link.relayed for link in c.links() if link.peer == b.peer_id] == [True]
    async with c.open(b.peer_id, ECHO) as channel:
        await channel.send(b"before")
        await until(lambda: [link.relayed for link in b.links() if link.peer == c.peer_id] == [False])
        assert await channel.receive() == b"before"  # what runs there is left to end there
    assert await request(c, b.peer_id, ECHO, b"after") == b"after"
    await until(lambda: len(c._swarm.get_connections(b._host.get_id())) == 1)
    async with b.subscribe("/test/topic", lambda _peer, _data: True) as heard:  # gossip moved over too
        await until(lambda: b._host.get_id() in c._pubsub.peer_topics.get("/test/topic", ()))
        for _ in range(50):  # what is said while the connections change is lost; soon after, nothing is
            await c.publish("/test/topic", b"news")
            with trio.move_on_after(0.2):
                assert (await anext(aiter(heard))).data == b"news"
                break
        else:
            raise AssertionError("gossip did not move over")
    assert Multiaddr(next(link.address for link in b.links() if link.peer == c.peer_id))
