"""What the port promises, held against both nets."""

from __future__ import annotations

import logging
import math
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from meshgen.net.conduct import Fault
from meshgen.net.port import (
    CHUNK_BYTES,
    MAX_GOSSIP_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TABLE_KEY_BYTES,
    MAX_TABLE_VALUE_BYTES,
    Channel,
    Gossip,
    Net,
    PeerId,
    TooLarge,
    Unreachable,
    request,
)
from tests.net.conftest import World, echo, identity, until

ECHO = "/test/echo/1"
OTHER = "/test/other/1"


async def pair(world: World) -> tuple[Net, Net]:
    a, b = await world.join(1), await world.join(2)
    b.serve(ECHO, echo)
    return a, b


# -- connections


async def test_a_connection_is_seen_from_both_sides(world: World) -> None:
    a, b = await pair(world)
    assert a.peer_id == identity(1).peer_id
    assert all(address.endswith(f"/p2p/{a.peer_id}") for address in a.addresses())
    await until(lambda: a.links() and b.links())
    assert [(link.peer, link.outbound) for link in b.links()] == [(a.peer_id, True)]
    assert [(link.peer, link.outbound) for link in a.links()] == [(b.peer_id, False)]


@pytest.mark.parametrize("address", ["", "nonsense", "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1/p2p/nobody", "/memory/x"])
async def test_a_malformed_address_is_a_value_error(world: World, address: str) -> None:
    a = await world.join(1)
    with pytest.raises(ValueError, match="looks like"):
        await a.connect(address)


async def test_nobody_there_is_unreachable(world: World) -> None:
    a, b = await pair(world)
    address = b.addresses()[0]
    await world.kill(b)
    await until(lambda: not a.links())
    with pytest.raises(Unreachable):
        await a.connect(address)
    with pytest.raises(Unreachable):
        await request(a, b.peer_id, ECHO, b"x")


async def test_oneself_and_strangers_are_unreachable(world: World) -> None:
    a = await world.join(1)
    for peer in (a.peer_id, PeerId(identity(9).peer_id), PeerId("no peer id")):
        with pytest.raises(Unreachable):
            await request(a, peer, ECHO, b"x")


# -- channels


async def test_echo_both_ways_over_one_connection(world: World) -> None:
    a, b = await pair(world)
    a.serve(ECHO, echo)
    assert await request(a, b.peer_id, ECHO, b"there") == b"there"
    assert await request(b, a.peer_id, ECHO, b"back") == b"back"
    async with a.open(b.peer_id, ECHO) as channel:
        assert channel.peer == b.peer_id
        for number in range(20):
            await channel.send(bytes([number]))
        assert [await channel.receive() for _ in range(20)] == [bytes([number]) for number in range(20)]


@pytest.mark.parametrize("size", [0, 1, 64 * 1024 - 17, 64 * 1024, CHUNK_BYTES, MAX_MESSAGE_BYTES])
async def test_messages_of_every_size_arrive_whole(world: World, size: int) -> None:
    a, b = await pair(world)
    message = bytes(n % 251 for n in range(size))
    assert await request(a, b.peer_id, ECHO, message) == message


async def test_an_oversize_message_is_refused_before_it_leaves(world: World) -> None:
    a, b = await pair(world)
    async with a.open(b.peer_id, ECHO) as channel:
        with pytest.raises(TooLarge, match="limit"):
            await channel.send(bytes(MAX_MESSAGE_BYTES + 1))
        await channel.send(b"still usable")
        assert await channel.receive() == b"still usable"


async def test_a_clean_end_is_none_on_both_sides(world: World) -> None:
    a, b = await pair(world)
    seen: list[bytes | None] = []
    done = trio.Event()

    async def collect(channel: Channel) -> None:
        seen.extend([await channel.receive(), await channel.receive(), await channel.receive()])
        done.set()

    async def greet(channel: Channel) -> None:
        await channel.send(b"hello")

    b.serve(OTHER, collect)
    a.serve(OTHER, greet)
    async with a.open(b.peer_id, OTHER) as channel:
        await channel.send(b"one")
    with trio.fail_after(5):
        await done.wait()
    assert seen == [b"one", None, None]
    async with b.open(a.peer_id, OTHER) as channel:
        assert await channel.receive() == b"hello"
        assert await channel.receive() is None
        assert await channel.receive() is None


async def test_leaving_by_an_error_resets_the_other_side(world: World) -> None:
    a, b = await pair(world)
    outcomes: list[str] = []
    done = trio.Event()

    async def listen(channel: Channel) -> None:
        try:
            while await channel.receive() is not None:
                pass
            outcomes.append("ended")
        except Unreachable:
            outcomes.append("reset")
            raise
        finally:
            done.set()

    b.serve(OTHER, listen)
    with pytest.raises(ZeroDivisionError):
        async with a.open(b.peer_id, OTHER) as channel:
            await channel.send(b"x")
            raise ZeroDivisionError
    with trio.fail_after(5):
        await done.wait()
    assert outcomes == ["reset"]
    assert await request(a, b.peer_id, ECHO, b"unharmed") == b"unharmed"


async def test_a_handler_that_raises_resets_its_channel_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    a, b = await pair(world)

    async def fail(channel: Channel) -> None:
        raise ValueError((await channel.receive() or b"").decode())

    b.serve(OTHER, fail)
    async with a.open(b.peer_id, ECHO) as bystander:
        with caplog.at_level(logging.DEBUG, "meshgen"), pytest.raises(Unreachable):
            await request(a, b.peer_id, OTHER, b"my secret prompt")
        await bystander.send(b"x")
        assert await bystander.receive() == b"x"
    with pytest.raises(Unreachable):
        await request(a, b.peer_id, OTHER, b"again")
    assert "ValueError at" in caplog.text
    assert "secret" not in caplog.text


async def test_an_unknown_protocol_is_unreachable(world: World) -> None:
    a, b = await pair(world)
    with pytest.raises(Unreachable, match="serve"):
        await request(a, b.peer_id, "/nobody/serves/this", b"x")
    assert await request(a, b.peer_id, ECHO, b"unharmed") == b"unharmed"
    with pytest.raises(ValueError, match="already"):
        b.serve(ECHO, echo)


async def test_a_peer_that_dies_amid_a_channel_is_unreachable(world: World) -> None:
    a, b = await pair(world)
    with pytest.raises(Unreachable):
        async with a.open(b.peer_id, ECHO) as channel:
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            await world.kill(b)
            with trio.fail_after(10):
                await channel.receive()


async def test_sixty_channels_at_once(world: World) -> None:
    a, b = await pair(world)
    answers: dict[int, bytes] = {}

    async def ask(number: int) -> None:
        answers[number] = await request(a, b.peer_id, ECHO, bytes([number]) * 1000)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(ask, number)
    assert answers == {number: bytes([number]) * 1000 for number in range(60)}


async def test_sixty_channels_held_open_at_once(world: World) -> None:
    a, b = await pair(world)
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(a.open(b.peer_id, ECHO)) for _ in range(60)]
        for number, channel in enumerate(channels):
            await channel.send(bytes([number]))
        assert [await channel.receive() for channel in channels] == [bytes([number]) for number in range(60)]


async def test_giving_up_on_receive_loses_nothing(world: World) -> None:
    a, b = await pair(world)
    asked = trio.Event()

    async def late(channel: Channel) -> None:
        await asked.wait()
        await channel.send(b"at last")

    b.serve(OTHER, late)
    async with a.open(b.peer_id, OTHER) as channel:
        await channel.send(b"wake up")
        with trio.move_on_after(0.05) as patience:
            await channel.receive()
        assert patience.cancelled_caught
        asked.set()
        assert await channel.receive() == b"at last"


async def test_cancelling_an_open_channel_stops_its_handler(world: World) -> None:
    a, b = await pair(world)
    running: list[str] = []

    async def linger(channel: Channel) -> None:
        running.append("in")
        try:
            await channel.receive()
        finally:
            running.remove("in")

    b.serve(OTHER, linger)
    with trio.move_on_after(0.2):
        async with a.open(b.peer_id, OTHER):
            await trio.sleep_forever()
    await until(lambda: not running)
    assert await request(a, b.peer_id, ECHO, b"unharmed") == b"unharmed"


# -- topics


class Ear:
    """Hears a topic in the background."""

    def __init__(self) -> None:
        self.heard: list[Gossip] = []

    async def listen(self, net: Net, topic: str, validator: Any = None, *, task_status: Any) -> None:
        async with net.subscribe(topic, validator or (lambda _sender, _data: True)) as messages:
            task_status.started()
            async for message in messages:
                self.heard.append(message)


async def test_gossip_reaches_everybody_but_the_publisher(world: World) -> None:
    nets = [await world.join(number) for number in (1, 2, 3, 4)]
    ears = [Ear() for _ in nets]
    async with trio.open_nursery() as nursery:
        for net, ear in zip(nets, ears, strict=True):
            await nursery.start(ear.listen, net, "news")
        await nets[1].publish("news", b"first")  # 2 knows 3 and 4 through 1 alone
        await nets[3].publish("news", b"second")
        await nets[0].publish("other topic", b"unheard")
        await until(lambda: [len(ear.heard) for ear in ears] == [2, 1, 2, 1])
        nursery.cancel_scope.cancel()
    assert Gossip("news", nets[1].peer_id, b"first") in ears[0].heard
    assert {message.sender for message in ears[2].heard} == {nets[1].peer_id, nets[3].peer_id}


async def test_a_burst_of_gossip_arrives_whole_and_once(world: World) -> None:
    a, b = await pair(world)
    ear = Ear()
    async with trio.open_nursery() as nursery:
        await nursery.start(ear.listen, b, "burst")
        for number in range(60):
            await a.publish("burst", bytes([number]))
        await until(lambda: len(ear.heard) >= 60)
        nursery.cancel_scope.cancel()
    assert sorted(message.data for message in ear.heard) == [bytes([number]) for number in range(60)]


async def test_the_validator_stops_junk_and_may_even_raise(world: World) -> None:
    a, b = await pair(world)
    ear = Ear()

    def validator(sender: PeerId, data: bytes) -> bool:
        if data == b"trap":
            raise KeyError(data)
        return sender == a.peer_id and data.startswith(b"good")

    async with trio.open_nursery() as nursery:
        await nursery.start(ear.listen, b, "t", validator)
        for data in (b"bad", b"trap", b"good"):
            await a.publish("t", data)
        await until(lambda: ear.heard)
        nursery.cancel_scope.cancel()
    assert [message.data for message in ear.heard] == [b"good"]


async def test_gossip_limits_and_one_subscription_a_topic(world: World) -> None:
    a = await world.join(1)
    await a.publish("t", bytes(MAX_GOSSIP_BYTES))  # nobody listens: no error
    with pytest.raises(TooLarge):
        await a.publish("t", bytes(MAX_GOSSIP_BYTES + 1))
    async with a.subscribe("t", lambda _sender, _data: True):
        with pytest.raises(ValueError, match="already"):
            async with a.subscribe("t", lambda _sender, _data: True):
                pass
    async with a.subscribe("t", lambda _sender, _data: True):
        pass


# -- the table


async def test_the_table_answers_with_the_freshest_value(world: World) -> None:
    a, b = await pair(world)
    c = await world.join(3)
    assert await a.get_value("/meshgen/k") is None
    await a.put_value("/meshgen/k", b"v1")
    assert await b.get_value("/meshgen/k") == b"v1"
    await c.put_value("/meshgen/k", b"v2")
    assert [await net.get_value("/meshgen/k") for net in (a, b, c)] == [b"v2"] * 3
    with pytest.raises(ValueError, match="older"):
        await c.put_value("/meshgen/k", b"v1")


async def test_the_table_refuses_what_its_rules_refuse(world: World) -> None:
    a = await world.join(1)
    for key, value in (("/meshgen/k", b"junk"), ("/elsewhere/k", b"v1"), ("no namespace", b"v1")):
        with pytest.raises(ValueError, match="rules refuse"):
            await a.put_value(key, value)
    with pytest.raises(TooLarge):
        await a.put_value("/meshgen/k", b"v" * (MAX_TABLE_VALUE_BYTES + 1))
    with pytest.raises(TooLarge):
        await a.put_value("/meshgen/" + "k" * MAX_TABLE_KEY_BYTES, b"v")
    with pytest.raises(TooLarge):
        await a.provide("k" * (MAX_TABLE_KEY_BYTES + 1))


async def test_providers_are_found_by_others(world: World) -> None:
    a, b = await pair(world)
    c = await world.join(3)
    assert await a.find_providers("model/x") == []
    await b.provide("model/x")
    await c.provide("model/x")
    assert set(await a.find_providers("model/x")) == {b.peer_id, c.peer_id}
    assert await b.find_providers("model/x") == [c.peer_id]  # not itself, though it provides the key
    assert len(await a.find_providers("model/x", limit=1)) == 1


async def test_a_provider_one_never_met_can_be_asked(world: World) -> None:
    _a, b = await pair(world)
    c = await world.join(3)
    await b.provide("model/x")
    (provider,) = await c.find_providers("model/x")
    assert await request(c, provider, ECHO, b"nice to meet you") == b"nice to meet you"


# -- keeping out


async def test_who_is_dropped_is_hung_up_on_and_may_come_back(world: World) -> None:
    a, b = await pair(world)
    await request(a, b.peer_id, ECHO, b"x")
    await a.drop(b.peer_id)
    await until(lambda: not a.links() and not b.links())
    assert await request(a, b.peer_id, ECHO, b"again") == b"again"


async def test_who_is_kept_out_can_neither_be_reached_nor_come_in(world: World) -> None:
    a, b = await pair(world)
    a.serve(ECHO, echo)
    await a.drop(b.peer_id, math.inf)
    await until(lambda: not a.links() and not b.links())
    with pytest.raises(Unreachable, match="kept out"):
        await request(a, b.peer_id, ECHO, b"x")
    with pytest.raises(Unreachable):
        await request(b, a.peer_id, ECHO, b"x")
    assert not a.links()
    await a.drop(b.peer_id)
    with pytest.raises(Unreachable):
        await b.connect(a.addresses()[0])  # to be hung up on is no pardon
    a.pardon(b.peer_id)
    await b.connect(a.addresses()[0])
    assert await request(b, a.peer_id, ECHO, b"y") == b"y"


async def test_a_pardon_does_not_hang_up(world: World) -> None:
    a, b = await pair(world)
    await request(a, b.peer_id, ECHO, b"x")
    a.pardon(b.peer_id)
    assert [link.peer for link in a.links()] == [b.peer_id]


async def test_a_stranger_can_be_dropped_before_it_comes(world: World) -> None:
    a = await world.join(1)
    await a.drop(PeerId(identity(2).peer_id), 60)
    with pytest.raises(Unreachable):
        await world.join(2)


async def test_too_many_faults_cut_a_peer_off(world: World) -> None:
    a, b = await pair(world)
    a.blame(b.peer_id, Fault.MALFORMED)
    await request(a, b.peer_id, ECHO, b"x")
    for _ in range(4):
        a.blame(b.peer_id, Fault.MALFORMED)
    await until(lambda: not a.links() and not b.links())
    with pytest.raises(Unreachable, match="kept out"):
        await request(a, b.peer_id, ECHO, b"x")
