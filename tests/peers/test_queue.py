"""The worker's queue: who gets the engine next, what is before whom, and what cancellation leaves behind."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from meshgen.engine.port import Room
from meshgen.ledger.standing import FRIEND, OTHERS, OWNER, STRANGER, Rank
from meshgen.peers.allowance import MAX_PEERS, UNLIMITED, Allowance
from meshgen.peers.queue import AGE_S, SHARE, Line, Queue, Ticket

KNOWN = Rank(OTHERS, 10)
A_FRIEND = Rank(FRIEND, 0)


def waiting(line: Line, *ranks: Rank, since_s: float = 0.0) -> list[Ticket]:
    tickets = [Ticket(rank, 1, 1.0, since_s) for rank in ranks]
    for ticket in tickets:
        line.join(ticket)
    return tickets


def drain(line: Line, now_s: float = 0.0) -> list[Ticket]:
    return [line.next(now_s) for _ in range(len(line))]


def test_the_greater_rank_goes_first_and_equals_in_the_order_in_which_they_came() -> None:
    line = Line()
    stranger, known, friend, other_known, own = waiting(line, STRANGER, KNOWN, A_FRIEND, KNOWN, OWNER)
    assert drain(line) == [own, friend, known, other_known, stranger]


def test_waiting_is_worth_buckets() -> None:
    line = Line()
    (stranger,) = waiting(line, STRANGER)
    (early, late) = waiting(line, Rank(OTHERS, 3), Rank(OTHERS, 2), since_s=2.5 * AGE_S)
    assert drain(line, 2.5 * AGE_S) == [early, stranger, late]


def test_no_waiting_outdoes_the_own_account() -> None:
    line = Line()
    (stranger,) = waiting(line, STRANGER)
    (own,) = waiting(line, OWNER, since_s=1000 * AGE_S)
    assert drain(line, 1000 * AGE_S) == [own, stranger]


def test_whoever_waited_longest_is_passed_over_so_often_and_no_more() -> None:
    line = Line()
    first, second = waiting(line, STRANGER, STRANGER)
    turns = []
    for _ in range(2 * SHARE):
        waiting(line, OWNER, OWNER)
        turns.append(line.next(0.0))
    assert [turns.index(stranger) + 1 for stranger in (first, second)] == [SHARE, 2 * SHARE]


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=4), max_size=60))
def test_nobody_starves(arrivals: list[list[tuple[int, int]]]) -> None:
    """Whatever comes, the n-th in the line has its turn after at most n times SHARE turns."""
    line = Line()
    due: dict[Ticket, int] = {}
    for turn, ranks in enumerate(arrivals):
        for ticket in waiting(line, *(Rank(*rank) for rank in ranks), since_s=float(turn)):
            due[ticket] = turn + (len(due) + 1) * SHARE
        if len(line):
            ticket = line.next(float(turn))
            assert turn <= due.pop(ticket)
    assert all(deadline >= len(arrivals) for deadline in due.values())


class Work:
    """Jobs on a queue that note when they have the engine."""

    def __init__(self, slots: int = 1) -> None:
        self.queue = Queue(lambda: Room(slots))
        self.order: list[str] = []
        self.drawing = self.most = 0

    async def job(self, name: str, rank: Rank, seconds: float = 1.0) -> None:
        with self.queue.accepted(rank, 1, seconds) as ticket:
            async with self.queue.turn(ticket):
                self.order.append(name)
                self.drawing += 1
                self.most = max(self.most, self.drawing)
                try:
                    await trio.sleep(seconds)
                finally:
                    self.drawing -= 1


async def test_jobs_have_the_engine_in_turn(autojump_clock: trio.testing.MockClock) -> None:
    work = Work()
    async with trio.open_nursery() as nursery:
        for name, rank in (("running", STRANGER), ("stranger", STRANGER), ("known", KNOWN), ("friend", A_FRIEND), ("own", OWNER)):
            nursery.start_soon(work.job, name, rank)
            await trio.testing.wait_all_tasks_blocked()
    assert work.order == ["running", "own", "friend", "known", "stranger"]
    assert (work.most, work.queue.pictures, work.queue.ahead(STRANGER)) == (1, 0, (0, 0.0))


async def test_as_many_draw_as_there_are_slots(autojump_clock: trio.testing.MockClock) -> None:
    work = Work(slots=3)
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(work.job, str(number), STRANGER)
    assert work.most == 3
    assert trio.current_time() == pytest.approx(4.0)


async def test_those_that_are_drawn_together_go_together(autojump_clock: trio.testing.MockClock) -> None:
    order: list[set[str]] = []
    queue, drawing = Queue(lambda: Room(1)), set[str]()

    async def job(name: str, rank: Rank, key: str | None, pictures: int = 1) -> None:
        with queue.accepted(rank, pictures, 1.0) as ticket:
            async with queue.turn(ticket, (key, 4)):
                drawing.add(name)
                await trio.testing.wait_all_tasks_blocked()
                if not order or order[-1] != drawing:
                    order.append(set(drawing))
                await trio.sleep(1)
                drawing.discard(name)

    async with trio.open_nursery() as nursery:
        for name, rank, key, pictures in (
            ("running", STRANGER, "a", 1),
            ("a1", STRANGER, "a", 2),
            ("b", A_FRIEND, "b", 1),
            ("a2", STRANGER, "a", 1),
            ("alone", STRANGER, None, 1),
            ("a3", KNOWN, "a", 1),
            ("large", STRANGER, "a", 2),
        ):
            nursery.start_soon(job, name, rank, key, pictures)
            await trio.testing.wait_all_tasks_blocked()
    assert order == [{"running"}, {"b"}, {"a3", "a1", "a2"}, {"alone"}, {"large"}]
    assert queue.pictures == 0


async def test_an_engine_prepares_one_more_than_it_works_on(autojump_clock: trio.testing.MockClock) -> None:
    work = Work()
    work.queue = Queue(lambda: Room(1, preparing=1))
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(work.job, str(number), STRANGER)
    assert work.most == 2


async def test_what_goes_before_whom(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue(lambda: Room(2))
    with ExitStack() as jobs:
        running = jobs.enter_context(queue.accepted(STRANGER, 1, 4.0))
        jobs.enter_context(queue.accepted(KNOWN, 2, 6.0))
        jobs.enter_context(queue.accepted(STRANGER, 3, 8.0))
        async with queue.turn(running):
            assert [queue.ahead(rank) for rank in (STRANGER, KNOWN, OWNER)] == [(6, 18.0), (3, 10.0), (1, 4.0)]
            assert [queue.wait_ms(rank) for rank in (STRANGER, KNOWN, OWNER)] == [9000, 5000, 2000]
    assert (queue.pictures, queue.ahead(STRANGER)) == (0, (0, 0.0))


async def test_who_gives_up_waiting_takes_nobodys_turn(autojump_clock: trio.testing.MockClock) -> None:
    work = Work()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.job, "running", STRANGER, 10)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(5):
            await work.job("impatient", OWNER)
        assert work.queue.pictures == 1
        nursery.start_soon(work.job, "patient", STRANGER)
    assert work.order == ["running", "patient"]


async def test_a_turn_that_comes_with_the_cancellation_is_passed_on(autojump_clock: trio.testing.MockClock) -> None:
    work = Work()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work.job, "running", STRANGER, 1)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(work.job, "next", STRANGER, 1)
            await trio.sleep(1)
            scope.cancel()
    await work.job("after", STRANGER)
    assert work.order[-1] == "after"
    assert work.queue.pictures == work.drawing == 0


async def test_an_engine_that_fails_frees_its_slot(autojump_clock: trio.testing.MockClock) -> None:
    work = Work()

    async def fail() -> None:
        with work.queue.accepted(STRANGER, 1, 1.0) as ticket:
            async with work.queue.turn(ticket):
                raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        await fail()
    await work.job("next", STRANGER)
    assert work.order == ["next"]


async def test_changes_are_told() -> None:
    seen: list[int] = []
    queue = Queue(lambda: Room(1), on_change=lambda: seen.append(queue.pictures))
    with queue.accepted(STRANGER, 3, 1.0):
        pass
    assert seen == [3, 0]


def test_an_allowance_is_full_at_first_and_refills_by_the_minute() -> None:
    allowance, peer = Allowance(), bytes(32)
    assert allowance.left(peer, 60, 0.0) == 60
    allowance.take(peer, 60, 60, 0.0)
    assert [allowance.left(peer, 60, now_s) for now_s in (0.0, 0.5, 1.0, 30.0, 1000.0)] == [0, 0, 1, 30, 60]
    assert allowance.left(b"another", 60, 0.0) == 60


def test_zero_sets_no_limit_and_the_owner_may_change_it() -> None:
    allowance, peer = Allowance(), bytes(32)
    allowance.take(peer, 10**6, 0, 0.0)
    assert (allowance.left(peer, 0, 0.0), allowance.left(peer, 5, 0.0)) == (UNLIMITED, 5)
    allowance.take(peer, 5, 5, 0.0)
    assert (allowance.left(peer, 2, 0.0), allowance.left(peer, 0, 0.0)) == (0, UNLIMITED)


def test_allowances_take_bounded_memory() -> None:
    allowance = Allowance()
    for number in range(MAX_PEERS + 10):
        allowance.take(number.to_bytes(32), 60, 60, float(number) / 1000)
    assert len(allowance._taken) == MAX_PEERS
    assert allowance.left((MAX_PEERS + 9).to_bytes(32), 60, 4.2) < 60
