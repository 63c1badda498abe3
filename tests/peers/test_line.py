"""Many jobs that found nobody do not offer all the time."""

from __future__ import annotations

from functools import partial

import trio
import trio.testing

from meshgen.peers.line import GAP_S, MOST_PER_S, Line


async def _tries(line: Line, tries: list[float], until_s: float) -> None:
    while trio.current_time() < until_s:
        await line.wait(trio.Event())
        tries.append(trio.current_time())


async def test_few_try_again_soon(autojump_clock: trio.testing.MockClock) -> None:
    line, tries, started = Line(), list[float](), trio.current_time()
    await _tries(line, tries, started + 3 * GAP_S)
    assert [round(at - started, 6) for at in tries] == [GAP_S, 2 * GAP_S, 3 * GAP_S]


async def test_many_try_again_in_turn(autojump_clock: trio.testing.MockClock) -> None:
    line, tries, started = Line(), list[float](), trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(_tries, line, tries, started + 100)
            await trio.sleep(0.001)
    assert len(tries) / (trio.current_time() - started) <= MOST_PER_S * 1.5


async def test_who_waited_longest_goes_first_when_somebody_found_a_worker() -> None:
    line, gone = Line(), list[int]()

    async def one(number: int) -> None:
        await line.wait(trio.Event())
        gone.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(partial(one, number))
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(4):  # one more than wait
            line.move()
            await trio.testing.wait_all_tasks_blocked()
    assert gone == [0, 1, 2]


async def test_whoever_is_cancelled_leaves_the_line() -> None:
    line = Line()
    with trio.move_on_after(0):
        await line.wait(trio.Event())
    wake = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.wait, wake)
        await trio.testing.wait_all_tasks_blocked()
        line.move()
    assert wake.is_set()
