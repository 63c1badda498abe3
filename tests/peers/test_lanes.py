"""A peer with two engines: who waits for one is not in the way of the other's."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.engine.port import Room
from meshgen.engine.several import Several, lane_of, rooms_of
from meshgen.ledger.standing import OWNER, STRANGER
from meshgen.peers.queue import Queue


async def test_a_lane_is_not_in_the_way_of_another(autojump_clock: MockClock) -> None:
    queue = Queue(lambda: Room(1), lanes={"1": lambda: Room(2)})
    ended: list[tuple[str, float]] = []

    async def job(name: str, lane: str, seconds: float) -> None:
        with queue.accepted(STRANGER, 1, seconds, lane) as ticket:
            async with queue.turn(ticket):
                await trio.sleep(seconds)
                ended.append((name, trio.current_time()))

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(job, name, "", 10)
        await trio.testing.wait_all_tasks_blocked()
        for name in "xyz":
            nursery.start_soon(job, name, "1", 1)
        await trio.testing.wait_all_tasks_blocked()
        assert queue.pictures == 6 and queue.ahead(STRANGER, "1") == (3, 3.0) and queue.ahead(OWNER) == (3, 12.0)
        assert (queue.wait_ms(STRANGER), queue.wait_ms(STRANGER, "1")) == (30_000, 1500)
    by_name = {name: seconds - start for name, seconds in ended}
    assert sorted(round(by_name[name]) for name in "xyz") == [1, 1, 2]
    assert sorted(round(by_name[name]) for name in "abc") == [10, 20, 30]
    assert queue.pictures == 0


async def test_who_waits_is_let_in_when_there_is_more_room(autojump_clock: MockClock) -> None:
    room = Room(1)
    queue = Queue(lambda: Room(1), lanes={"1": lambda: room})
    inside: list[int] = []

    async def job(number: int) -> None:
        with queue.accepted(STRANGER, 1, 1, "1") as ticket:
            async with queue.turn(ticket):
                inside.append(number)
                await trio.sleep(100)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(job, number)
        await trio.testing.wait_all_tasks_blocked()
        assert len(inside) == 1
        room = Room(2, preparing=1)
        queue.advance()
        await trio.testing.wait_all_tasks_blocked()
        assert len(inside) == 3


def test_an_engine_alone_has_the_one_lane() -> None:
    alone = FakeEngine(slots=3)
    assert lane_of(alone, "fake") == "" and list(rooms_of(alone)) == [""]
    several = Several(alone, FakeEngine([fake_model("other")], slots=2))
    assert (lane_of(several, "fake"), lane_of(several, "other"), lane_of(several, "nobody's")) == ("", "1", "")
    assert {lane: room().working for lane, room in rooms_of(several).items()} == {"": 3, "1": 2}
