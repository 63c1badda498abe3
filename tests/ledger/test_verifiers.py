"""Signatures are judged alike by threads and by processes, and whatever becomes of a process."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import trio
import trio.testing

from meshgen.identity import Identity
from meshgen.ledger import verifiers
from meshgen.ledger.verifiers import Signature, Verifiers

KEY = Identity.from_seed(bytes(32))


def signed(count: int, bad: set[int] | None = None) -> list[Signature]:
    messages = [number.to_bytes(4, "big") for number in range(count)]
    return [(KEY.public_key, KEY.sign(m if n not in (bad or set()) else b"other"), m) for n, m in enumerate(messages)]


def bad_ones(good: object) -> set[int]:
    assert isinstance(good, list)
    return {index for index, is_good in enumerate(good) if not is_good}


async def warm() -> Verifiers:
    """One that has had enough work to use processes."""
    made = Verifiers()
    await made.verify(signed(10) * (verifiers.MANY // 10 + 1))
    assert len(made.waiting()) == 1
    return made


async def test_few_are_judged_without_a_process() -> None:
    made = Verifiers()
    assert bad_ones(await made.verify(signed(50, bad={0, 49}))) == {0, 49}
    assert not made.waiting()


async def test_many_are_judged_by_processes_which_end() -> None:
    made = await warm()
    results: list[object] = []

    async def ask(bad: set[int]) -> None:
        results.append((bad, bad_ones(await made.verify(signed(300, bad)))))

    async with trio.open_nursery() as nursery:
        for index in range(10):
            nursery.start_soon(ask, {index, 299})
    assert len(results) == 10 and all(bad == found for bad, found in results)  # type: ignore[misc]
    assert 1 <= len(made.waiting()) <= verifiers.MAX_PROCESSES
    kept = made.waiting()
    await made.close()
    assert not made.waiting() and all(process.returncode is not None for process in kept)


async def test_a_process_that_was_killed_is_made_up_for() -> None:
    made = await warm()
    for process in made.waiting():
        process.kill()
        await process.wait()
    assert bad_ones(await made.verify(signed(100, bad={7}))) == {7}
    assert bad_ones(await made.verify(signed(100, bad={8}))) == {8}
    await made.close()


async def test_who_is_cancelled_leaves_no_process_half_asked() -> None:
    made = await warm()
    (process,) = made.waiting()
    process.send_signal(signal.SIGSTOP)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.verify, signed(100))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not made.waiting() and process.returncode is not None
    assert bad_ones(await made.verify(signed(100, bad={3}))) == {3}
    await made.close()


async def test_without_processes_threads_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "COMMAND", ("/nowhere/python",))
    made = Verifiers()
    assert bad_ones(await made.verify(signed(verifiers.MANY + 1, bad={5}))) == {5}
    assert not made.waiting()


def test_a_process_that_hears_nothing_ends() -> None:
    script = "from meshgen.ledger.verifier import main; main(idle_s=0.01)"
    done = subprocess.run([sys.executable, "-c", script], stdin=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 0
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as idle:  # its stdin stays open
        assert idle.wait(60) == 0
