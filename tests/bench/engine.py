"""The engine against a bare diffusers loop in the same run; alone: ``python -m tests.bench.engine [--device cuda] [--sdxl]``.

Both run in processes of their own and take turns, picture by picture, from the prompt to the PNG; the median of the pairs counts,
as others may share the machine. Processor time is compared too, which they change less: for the engine it is the child's and the
node's. The bundled model draws what somebody gets who asks for nothing else: 64x64 in 20 steps, on a CPU of about 18 ms each.
A job's own cost, whatever its steps, is told apart, by jobs of one step. ``--sdxl`` takes random weights of SDXL's shape instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import psutil
import trio

from meshgen.engine.bundled import model_path
from meshgen.engine.diffusion.child import Mouth
from meshgen.engine.models.catalog import Catalog
from meshgen.engine.pool.engine import Pool, open_engine
from meshgen.engine.port import Picture, Preview, Progress, Work
from tests.bench.bare import PROMPT

AIMS = {
    "pictures/s against a bare loop, one at a time": ">= 0.97",
    "progress and previews, share of a watched job": "< 0.01",
    "cancel to idle, steps": "<= 1",
    "second job of a warm model waits, ms": "< 20",
    "switching between models that fit against reloading": ">= 10",
}


@dataclass(frozen=True)
class Shape:
    """What is drawn. ``rounds`` of ``pictures`` each; ``watched``: steps of a job with previews."""

    side: int
    steps: int
    rounds: int
    pictures: int
    watched: int


SMALL = Shape(64, 20, 4, 4, 100)
LARGE = Shape(1024, 30, 3, 4, 60)


class Bare:
    """The bare loop's process."""

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        command = [sys.executable, "-m", "tests.bench.bare", str(folder), device, str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def ask(self, *words: object) -> list[float]:
        assert self._process.stdin
        print(*words, file=self._process.stdin, flush=True)
        return [float(word) for word in self._answer()]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> list[str]:
        assert self._process.stdout
        return self._process.stdout.readline().split()


def engine(device: str = "auto", sdxl: bool = False) -> dict[str, float]:
    """All figures; takes a minute on a CPU."""
    with tempfile.TemporaryDirectory(prefix="meshgen-bench-") as scratch:
        folder = model_path()
        if sdxl:
            from tests.bench.sdxl_shape import save_sdxl_shape

            folder = save_sdxl_shape(Path(scratch) / "sdxl")
        catalog = Catalog(Path(scratch))
        for name in ("one", "two"):
            catalog.add(name, folder)
        bare = Bare(folder, device, 1)
        try:
            return trio.run(_measure, catalog, device, bare, LARGE if sdxl else SMALL)
        finally:
            bare.close()


def say(figures: dict[str, float]) -> dict[str, float]:
    print(table(figures), file=sys.stderr, flush=True)
    return figures


def table(figures: dict[str, float]) -> str:
    return "\n".join(f"{name:<60} {value:>10.3f}  {AIMS.get(name, '')}" for name, value in figures.items())


async def _measure(catalog: Catalog, device: str, bare: Bare, shape: Shape) -> dict[str, float]:
    async with open_engine(catalog, device) as pool:
        assert isinstance(pool, Pool)
        one = Work("one", PROMPT, "", shape.side, shape.side, shape.steps, 5.0, "", (0,))
        for name in ("one", "two"):
            await _draw(pool, [replace(one, model=name)] * 2)
        figures = say(await _against_bare(pool, bare, one, shape))
        figures |= say(await _in_batches(pool, one, shape))
        figures |= say(await _overhead(pool, bare, one, shape))
        figures |= say(await _waits(pool, one))
        figures |= say(await _switching(pool, bare, one))
        figures |= say(await _cancelling(pool, one))
        figures["estimates were off by, median share"] = pool.estimate_error() or 0.0
        if pool.device().kind == "cuda":
            figures["VRAM peak of a batch of 8, MiB"] = await _peak(pool, bare, one)
        return figures


async def _against_bare(pool: Pool, bare: Bare, one: Work, shape: Shape) -> dict[str, float]:
    """One job after the other; then two callers, so that the next is there before the last has ended, but never in one batch."""
    other = replace(one, guidance_scale=5.001)
    alone = [await _pair(pool, bare, one) for _ in range(shape.rounds * shape.pictures)]
    waiting = [await _pair(pool, bare, one, [[one] * 2, [other] * 2]) for _ in range(shape.rounds)]
    shortest = [await _pair(pool, bare, replace(one, steps=1)) for _ in range(3 * shape.rounds)]
    return {
        "pictures/s of a bare loop": 1 / statistics.median(pair.bare_s for pair in alone),
        "pictures/s against a bare loop, one at a time": statistics.median(pair.bare_s / pair.node_s for pair in alone),
        "the same, by processor time": statistics.median(pair.bare_cpu_s / pair.node_cpu_s for pair in alone),
        "the same, with a job waiting": statistics.median(pair.bare_s / pair.node_s for pair in waiting),
        "a job's fixed cost beside the bare loop's, ms": statistics.median(pair.node_s - pair.bare_s for pair in shortest) * 1000,
        "the same, by processor time, ms": statistics.median(pair.node_cpu_s - pair.bare_cpu_s for pair in shortest) * 1000,
    }


@dataclass(frozen=True)
class Pair:
    """Seconds for a picture."""

    bare_s: float
    bare_cpu_s: float
    node_s: float
    node_cpu_s: float


async def _pair(pool: Pool, bare: Bare, one: Work, callers: Sequence[Sequence[Work]] | None = None) -> Pair:
    callers = callers or [[one]]
    count = sum(map(len, callers))
    bare_s, bare_cpu_s = await trio.to_thread.run_sync(bare.ask, "draw", one.width, one.steps, 1, count)
    before = _processor_s()
    node_s = await _timed(pool, callers)
    return Pair(bare_s / count, bare_cpu_s / count, node_s / count, (_processor_s() - before) / count)


def _processor_s() -> float:
    """Of this process and the engine's child."""
    [child] = [one for one in psutil.Process().children() if "meshgen.engine.diffusion.child" in one.cmdline()]
    if sys.platform == "linux":
        return time.process_time() + time.clock_gettime((~child.pid << 3) | 2)  # its own clock, finer than the system's ticks
    times = child.cpu_times()
    return time.process_time() + float(times.user + times.system)


async def _in_batches(pool: Pool, one: Work, shape: Shape) -> dict[str, float]:
    """Callers that wait together, each for one picture, against one at a time."""
    times: dict[int, list[float]] = {1: [], 4: [], 8: []}
    for _ in range(max(shape.rounds // 2, 3)):
        for callers, seconds in times.items():
            seconds.append(await _timed(pool, [[one] * (8 // callers)] * callers))
    return {f"gain of {callers} jobs in a batch": min(times[1]) / min(times[callers]) for callers in (4, 8)}


async def _overhead(pool: Pool, bare: Bare, one: Work, shape: Shape) -> dict[str, float]:
    """Previews are wanted at every step, and limited by the engine; they are counted. What one takes, and one frame of progress,
    is timed apart: within a job it would be lost in what others do to the machine."""
    job = replace(one, steps=shape.watched, preview_every=1)
    shown, spent = 0, 0.0
    for _ in range(shape.rounds):
        started = time.perf_counter()
        async with pool.run(job) as events:
            shown += len([event async for event in events if isinstance(event, Preview)])
        spent += time.perf_counter() - started
    [preview_s] = await trio.to_thread.run_sync(bare.ask, "preview", one.width)
    told_s = _tell_s() * job.steps * shape.rounds
    return {
        "seconds of a watched job": spent / shape.rounds,
        "previews of a watched job": shown / shape.rounds,
        "a preview, ms": preview_s * 1000,
        "progress and previews, share of a watched job": (shown * preview_s + told_s) / spent,
    }


def _tell_s() -> float:
    """One frame of progress, from the step that it tells of into the pipe."""
    reading, writing = os.pipe()
    times = []
    with os.fdopen(writing, "wb") as out:
        mouth = Mouth(out)
        for _ in range(200):
            started = time.perf_counter()
            mouth.tell("progress", job=1, indexes=[0], step=1)
            times.append(time.perf_counter() - started)
    os.close(reading)
    return statistics.median(times)


async def _waits(pool: Pool, one: Work) -> dict[str, float]:
    """From handing it over to its first step, less that step."""
    waits = [await _first_step_s(pool, one) for _ in range(10)]
    step = await _step_s(pool, one)
    return {"a step, ms": step * 1000, "second job of a warm model waits, ms": max(min(waits) - step, 0.0) * 1000}


async def _switching(pool: Pool, bare: Bare, one: Work) -> dict[str, float]:
    stays = min([await _first_step_s(pool, one) for _ in range(8)])
    switches = min([await _first_step_s(pool, replace(one, model=name)) for name in ("two", "one") * 4])
    [reload_s] = await trio.to_thread.run_sync(bare.ask, "load")
    switch_s = max(switches - stays, 0.001)
    return {
        "reloading a model, s": reload_s,
        "switching between models that fit, s": switch_s,
        "switching between models that fit against reloading": reload_s / switch_s,
    }


async def _cancelling(pool: Pool, one: Work) -> dict[str, float]:
    """The steps just before it are what it is compared with."""
    times, shares = [], []
    for _ in range(20):
        told = []
        async with pool.run(replace(one, steps=900)) as events:
            async for event in events:
                told.append(time.perf_counter())
                if isinstance(event, Progress) and event.step > 8:
                    break
            started = time.perf_counter()
        while not pool.free_slots():  # noqa: ASYNC110 - what a process does can't be waited for by an event
            await trio.sleep(0.0002)
        times.append(time.perf_counter() - started)
        shares.append(times[-1] / statistics.median(after - before for before, after in pairwise(told)))
    return {
        "cancel to idle, ms": statistics.median(times) * 1000,
        "cancel to idle, steps": statistics.median(shares),
        "cancel to idle, steps, at most": max(shares),
    }


async def _peak(pool: Pool, bare: Bare, one: Work) -> float:
    """What the bare loop's process holds is not counted: it holds it before, too."""
    free: list[float] = []
    total = pool.device().vram_total_mib

    async def look() -> None:
        while True:
            free.extend(await trio.to_thread.run_sync(bare.ask, "free"))
            await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await _draw(pool, [replace(one, seeds=tuple(range(8)))])
        nursery.cancel_scope.cancel()
    return total - min(free)


async def _timed(pool: Pool, callers: Sequence[Sequence[Work]]) -> float:
    """Each caller hands over its jobs one after the other, all callers at once."""
    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for jobs in callers:
            nursery.start_soon(_draw, pool, jobs)
    return time.perf_counter() - started


async def _draw(pool: Pool, jobs: Sequence[Work]) -> None:
    for job in jobs:
        async with pool.run(job) as events:
            assert any([isinstance(event, Picture) async for event in events])


async def _first_step_s(pool: Pool, one: Work) -> float:
    started = time.perf_counter()
    first = started
    async with pool.run(one) as events:
        async for event in events:
            if isinstance(event, Progress) and event.step == 1:
                first = time.perf_counter()
    return first - started


async def _step_s(pool: Pool, one: Work) -> float:
    gaps: list[float] = []
    for _ in range(5):
        before = 0.0
        async with pool.run(one) as events:
            async for event in events:
                now = time.perf_counter()
                if isinstance(event, Progress) and before:
                    gaps.append(now - before)
                before = now
    return min(gaps)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engine", description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sdxl", action="store_true")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        print(table(engine(options.device, options.sdxl)))


if __name__ == "__main__":
    main()
