"""What only the in-memory mesh promises: determinism, faults on demand, a complete trace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

from meshgen.identity import Identity
from meshgen.net.memory import Event, MemoryMesh, MemoryNet
from meshgen.net.port import Channel, Net, Unreachable, request

ECHO = "/test/echo/1"


def identity(number: int) -> Identity:
    return Identity.from_seed(bytes([number]) * 32)


async def echo(channel: Channel) -> None:
    while (message := await channel.receive()) is not None:
        await channel.send(message)


@asynccontextmanager
async def joined(mesh: MemoryMesh, count: int) -> AsyncIterator[list[MemoryNet]]:
    async with AsyncExitStack() as stack:
        nets = [await stack.enter_async_context(mesh.join(identity(number))) for number in range(1, count + 1)]
        for net in nets:
            net.serve(ECHO, echo)
        yield nets


async def heard_by(net: Net, topic: str, heard: list[bytes], task_status: Any) -> None:
    async with net.subscribe(topic, lambda _sender, _data: True) as messages:
        task_status.started()
        async for message in messages:
            heard.append(message.data)


async def one_run(seed: int) -> list[Event]:
    events: list[Event] = []
    mesh = MemoryMesh(seed, loss=0.3)
    mesh.trace = events.append
    async with joined(mesh, 5) as nets, trio.open_nursery() as nursery:
        heard: list[list[bytes]] = [[] for _ in nets]
        for net, ear in zip(nets, heard, strict=True):
            await nursery.start(heard_by, net, "t", ear)
        for number, net in enumerate(nets):
            await net.publish("t", bytes([number]))
            await request(net, nets[number - 1].peer_id, ECHO, b"hello")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return [*events, Event(0, "heard", nets[0].peer_id, "t", b"|".join(b"".join(ear) for ear in heard))]


async def test_the_same_seed_gives_the_same_events_at_the_same_times(autojump_clock: trio.abc.Clock) -> None:
    runs = []
    for seed in (7, 7, 8):
        start = trio.current_time()
        runs.append([(round(event.at_s - start, 6), event.kind, event.data) for event in (await one_run(seed))[:-1]])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


async def test_loss_takes_some_gossip_and_no_channel_message(autojump_clock: trio.abc.Clock) -> None:
    mesh = MemoryMesh(seed=3, loss=0.5)
    heard: list[bytes] = []
    async with joined(mesh, 2) as (a, b), trio.open_nursery() as nursery:
        await nursery.start(heard_by, b, "t", heard)
        for number in range(100):
            await a.publish("t", bytes([number]))
            assert await request(a, b.peer_id, ECHO, b"x") == b"x"
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert 20 < len(heard) < 80
    assert mesh.counters["gossip lost"] == 100 - len(heard)


async def test_partition_breaks_channels_and_heals(autojump_clock: trio.abc.Clock) -> None:
    mesh = MemoryMesh(seed=4)
    heard: list[bytes] = []
    async with joined(mesh, 2) as (a, b), trio.open_nursery() as nursery:
        await nursery.start(heard_by, b, "t", heard)
        with pytest.raises(Unreachable, match="partitioned"):
            async with a.open(b.peer_id, ECHO) as channel:
                mesh.partition([{a.peer_id}, {b.peer_id}])
                await channel.receive()
        with pytest.raises(Unreachable, match="no answer within"):
            await request(a, b.peer_id, ECHO, b"x")
        await a.publish("t", b"lost")
        mesh.heal()
        assert await request(a, b.peer_id, ECHO, b"x") == b"x"
        await a.publish("t", b"heard")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert heard == [b"heard"]


async def test_a_killed_peer_takes_its_channels_and_handlers_with_it(autojump_clock: trio.abc.Clock) -> None:
    mesh = MemoryMesh(seed=5)
    async with joined(mesh, 2) as (a, b):
        with pytest.raises(Unreachable, match="died"):
            async with a.open(b.peer_id, ECHO) as channel:
                mesh.kill(b.peer_id)
                await channel.receive()
        with pytest.raises(Unreachable):
            await request(a, b.peer_id, ECHO, b"x")
        with pytest.raises(Unreachable):
            await b.publish("t", b"from the grave")
        async with mesh.join(identity(2)) as again:
            again.serve(ECHO, echo)
            assert await request(a, again.peer_id, ECHO, b"x") == b"x"


async def test_a_stalled_peer_is_silent_until_it_resumes(autojump_clock: trio.abc.Clock) -> None:
    mesh = MemoryMesh(seed=6)
    async with joined(mesh, 2) as (a, b), a.open(b.peer_id, ECHO) as channel:
        mesh.stall(b.peer_id)
        await channel.send(b"still there?")
        with trio.move_on_after(60) as patience:
            await channel.receive()
        assert patience.cancelled_caught
        mesh.resume(b.peer_id)
        assert await channel.receive() == b"still there?"


async def test_the_trace_sees_every_gossip_message_and_table_value(autojump_clock: trio.abc.Clock) -> None:
    mesh = MemoryMesh(seed=9)
    events: list[Event] = []
    mesh.trace = events.append
    async with joined(mesh, 2) as (a, _b):
        await a.publish("t", b"offer")
        await a.put_value("/meshgen/k", b"advert")
        await a.provide("model/x")
    assert [(event.kind, event.name, event.data) for event in events] == [
        ("gossip", "t", b"offer"),
        ("value", "/meshgen/k", b"advert"),
        ("provide", "model/x", b""),
    ]
    assert {event.peer for event in events} == {a.peer_id}


async def test_a_peer_that_moves_leaves_links_that_lead_nowhere(autojump_clock: trio.abc.Clock) -> None:
    mesh = MemoryMesh(seed=7)
    async with joined(mesh, 2) as (a, b):
        old = b.addresses()[0]
        async with a.open(b.peer_id, ECHO) as channel:
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            mesh.move(b.peer_id)
            await channel.send(b"lost")
            with trio.move_on_after(60) as patience:
                await channel.receive()
            assert patience.cancelled_caught, "neither side is told"
            with pytest.raises(Unreachable, match="no answer within"):
                await request(a, b.peer_id, ECHO, b"x")
            await a.drop(b.peer_id)
            with pytest.raises(Unreachable, match="hung up"):
                await channel.receive()
        assert [link.peer for link in b.links()] == [a.peer_id], "the other side has still to find out"
        with pytest.raises(Unreachable, match="nobody answers"):
            await a.connect(old)
        assert b.addresses()[0] != old
        assert await a.connect(b.addresses()[0]) == b.peer_id
        assert await request(a, b.peer_id, ECHO, b"x") == b"x"
        assert await request(b, a.peer_id, ECHO, b"x") == b"x"


async def test_a_cable_that_is_cut_far_away_tells_nobody(autojump_clock: trio.abc.Clock) -> None:
    mesh = MemoryMesh(seed=8)
    async with joined(mesh, 3) as (a, b, c):
        assert await request(a, b.peer_id, ECHO, b"x") == b"x"
        assert await request(a, c.peer_id, ECHO, b"x") == b"x"
        mesh.partition([{a.peer_id, c.peer_id}, {b.peer_id}], silent=True)
        assert {link.peer for link in a.links()} == {b.peer_id, c.peer_id}
        with pytest.raises(Unreachable, match="no answer within"):
            await request(a, b.peer_id, ECHO, b"x")
        assert await request(a, c.peer_id, ECHO, b"x") == b"x"
        await a.drop(b.peer_id)
        mesh.heal()
        assert await request(a, b.peer_id, ECHO, b"x") == b"x"
