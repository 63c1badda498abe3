"""The engine against a bare diffusers loop in the same run; alone: ``python -m tests.bench.engine [--device cuda] [--sdxl]``.

Both run in processes of their own, one after the other in short rounds, and the best of each counts: others may share the
machine, which only ever makes things slower. ``--sdxl`` takes random weights of SDXL's shape instead of the bundled model.
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
from pathlib import Path

import psutil
import trio

from meshgen.engine.bundled import model_path
from meshgen.engine.diffusion.child import Mouth
from meshgen.engine.models.catalog import Catalog
from meshgen.engine.pool.engine import Pool, open_engine
from meshgen.engine.port import Picture, Progress, Work
from tests.bench.bare import PROMPT

AIMS = {
    "pictures/s against a bare loop, one at a time": ">= 0.97",
    "progress and previews, share of a step": "< 0.01",
    "cancel to idle, steps": "1, and the way",
    "second job of a warm model waits, ms": "< 20",
    "switching between models that fit against reloading": ">= 10",
}


@dataclass(frozen=True)
class Shape:
    """What is drawn. ``rounds`` of ``pictures`` each."""

    side: int
    steps: int
    rounds: int
    pictures: int


SMALL = Shape(64, 10, 6, 4)
LARGE = Shape(1024, 30, 3, 4)


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
        figures["progress and previews, share of a step"] = await _overhead(pool, one, shape)
        figures |= say(await _waits(pool, one))
        figures |= say(await _switching(pool, bare, one))
        figures |= say(await _cancelling(pool, one))
        figures["estimates were off by, median share"] = pool.estimate_error() or 0.0
        if pool.device().kind == "cuda":
            figures["VRAM peak of a batch of 8, MiB"] = await _peak(pool, bare, one)
        return figures


async def _against_bare(pool: Pool, bare: Bare, one: Work, shape: Shape) -> dict[str, float]:
    """One job after the other; then two callers, so that the next is there before the last has ended, but never in one batch."""
    alone, overlapped, of_bare = [], [], []
    other = replace(one, guidance_scale=5.001)
    bare.ask("draw", shape.side, shape.steps, 1, 2)
    for _ in range(shape.rounds):
        seconds, _cpu = await trio.to_thread.run_sync(bare.ask, "draw", shape.side, shape.steps, 1, shape.pictures)
        of_bare.append(seconds)
        alone.append(await _timed(pool, [[one] * shape.pictures]))
        overlapped.append(await _timed(pool, [[one] * (shape.pictures // 2), [other] * (shape.pictures // 2)]))
    return {
        "pictures/s of a bare loop": shape.pictures / min(of_bare),
        "pictures/s against a bare loop, one at a time": min(of_bare) / min(alone),
        "the same, with a job waiting": min(of_bare) / min(overlapped),
    }


async def _in_batches(pool: Pool, one: Work, shape: Shape) -> dict[str, float]:
    """Callers that wait together, each for one picture, against one at a time."""
    times: dict[int, list[float]] = {1: [], 4: [], 8: []}
    for _ in range(max(shape.rounds // 2, 3)):
        for callers, seconds in times.items():
            seconds.append(await _timed(pool, [[one] * (8 // callers)] * callers))
    return {f"gain of {callers} jobs in a batch": min(times[1]) / min(times[callers]) for callers in (4, 8)}


async def _overhead(pool: Pool, one: Work, shape: Shape) -> float:
    """Previews are wanted at every step, and limited by the engine; progress is told always, so its frames are timed apart.

    On a CPU the child's own processor time is compared, which others on the machine change little.
    """
    job = replace(one, steps=100 if shape.side < 512 else 60)
    plain, shown = [], []
    for _ in range(shape.rounds):
        plain.append(await _spent(pool, job))
        shown.append(await _spent(pool, replace(job, preview_every=1)))
    return min(shown) / min(plain) - 1 + _tell_s() / (min(plain) / job.steps)


async def _spent(pool: Pool, job: Work) -> float:
    if pool.device().kind != "cpu":
        return await _timed(pool, [[job]])
    [child] = [one for one in psutil.Process().children() if "meshgen.engine.diffusion.child" in one.cmdline()]
    before = child.cpu_times()
    await _draw(pool, [job])
    after = child.cpu_times()
    return float(after.user + after.system - before.user - before.system)


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
    times = []
    step = await _step_s(pool, one)
    for _ in range(10):
        async with pool.run(replace(one, steps=900)) as events:
            async for event in events:
                if isinstance(event, Progress) and event.step > 2:
                    break
            started = time.perf_counter()
        while not pool.free_slots():  # noqa: ASYNC110 - what a process does can't be waited for by an event
            await trio.sleep(0.0002)
        times.append(time.perf_counter() - started)
    idle = min(times)
    return {"cancel to idle, ms": idle * 1000, "cancel to idle, steps": idle / step}


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
