"""A net that counts is the same net."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshgen.net.memory import MemoryMesh
from meshgen.net.metered import Flow, Traffic, kind_of, kind_of_topic, metered
from meshgen.net.port import Channel, Gossip, TooLarge, Unreachable, request
from tests.net.conftest import echo, identity

TOPIC = f"/meshgen/{bytes(16).hex()}/offer/sd1"


def test_kinds() -> None:
    assert kind_of("/meshgen/job/1") == "job" and kind_of("odd") == "odd"
    assert kind_of_topic(TOPIC) == "offer/sd1" and kind_of_topic("odd") == "odd"


async def test_channels_are_counted_on_both_sides(autojump_clock: trio.testing.MockClock) -> None:
    mesh, ours, theirs = MemoryMesh(), Traffic(), Traffic()
    async with mesh.join(identity(1)) as one, mesh.join(identity(2)) as other:
        net, far = metered(one, ours), metered(other, theirs)
        far.serve("/meshgen/echo/1", echo)
        assert net.peer_id == one.peer_id and net.addresses() == one.addresses()
        assert await request(net, far.peer_id, "/meshgen/echo/1", b"12345") == b"12345"
        for traffic, first in ((ours, "out"), (theirs, "in")):
            assert traffic.channels == {("echo", first): 1}
            assert traffic.flows == {("echo", "out"): Flow(1, 5), ("echo", "in"): Flow(1, 5)}
        with pytest.raises(Unreachable):
            await request(net, far.peer_id, "/meshgen/nothing/1", b"")
        assert ours.unreachable == {"nothing": 1}


async def test_an_error_of_whoever_opened_is_no_unreachable_peer(autojump_clock: trio.testing.MockClock) -> None:
    mesh, traffic = MemoryMesh(), Traffic()

    async def hang_up(channel: Channel) -> None:
        raise ValueError

    async with mesh.join(identity(1)) as one, mesh.join(identity(2)) as other:
        other.serve("/meshgen/echo/1", hang_up)
        with pytest.raises(Unreachable):
            await request(metered(one, traffic), other.peer_id, "/meshgen/echo/1", b"1")
        assert not traffic.unreachable and traffic.channels == {("echo", "out"): 1}


async def test_gossip_and_what_is_lost_of_it(autojump_clock: trio.testing.MockClock) -> None:
    mesh, heard, told = MemoryMesh(), Traffic(), Traffic()
    async with mesh.join(identity(1)) as one, mesh.join(identity(2)) as other:
        net = metered(one, heard)
        async with net.subscribe(TOPIC, lambda _sender, data: data != b"bad") as box:
            for data in (b"good", b"bad", b"good"):
                await metered(other, told).publish(TOPIC, data)
            await trio.sleep(1)
            assert (await anext(box)) == Gossip(TOPIC, other.peer_id, b"good")
            assert heard.gossip == {("offer/sd1", "accepted"): 2, ("offer/sd1", "refused"): 1}
            assert heard.gossip_bytes == {("offer/sd1", "in"): 11}
            assert told.gossip == {("offer/sd1", "published"): 3}
            heard.boxes["offer/sd1"].dropped = 7
            assert heard.dropped() == {"offer/sd1": 7}
        assert heard.dropped() == {"offer/sd1": 7}, "remembered once nobody hears it any more"


async def test_questions_to_the_table(autojump_clock: trio.testing.MockClock) -> None:
    mesh, traffic = MemoryMesh(), Traffic()
    async with mesh.join(identity(1)) as one, mesh.join(identity(2)):
        net = metered(one, traffic)
        assert await net.get_value("/meshgen/x") is None
        await net.put_value("/meshgen/x", b"1")
        assert await net.get_value("/meshgen/x") == b"1"
        assert await net.find_providers("/meshgen/y") == []
        with pytest.raises(TooLarge):
            await net.put_value("/other/x", b"1" * 100_000)
    assert traffic.table["get_value", "nothing"] == traffic.table["get_value", "done"] == 1
    assert traffic.table["find_providers", "nothing"] == traffic.table["put_value", "failed"] == 1
    assert traffic.table_s["get_value"].count == 2 and traffic.table_s["get_value"].sum > 0
