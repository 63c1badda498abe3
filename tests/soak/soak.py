"""Many mixed jobs through one engine, with its resources watched."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import trio

from meshgen.engine.models.catalog import Catalog
from meshgen.engine.pool.engine import Pool, open_engine
from meshgen.engine.port import EngineError, Picture
from tests.engine.folders import model_folder
from tests.soak.mix import CANCELLED, DRAWN, Case

CALLERS = 6
JOB_S = 600.0
SAMPLES = 20
COMMAND = (sys.executable, "-m", "tests.soak.faulty_child")


@dataclass
class Sample:
    """After so many jobs; sizes in MB."""

    jobs: int
    node_mb: float
    node_files: int
    child_mb: float
    child_files: int
    children: int


@dataclass
class Report:
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    children_started: set[int] = field(default_factory=set)
    left_behind: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> int:
        return self.outcomes.total()


async def soak(home: Path, jobs: Iterable[Case], silence_s: float) -> Report:
    """Raises nothing for a job's sake: what came of each is in the report."""
    report, waiting = Report(), list(jobs)
    every = max(len(waiting) // SAMPLES, 1)
    async with open_engine(_catalog(home), "cpu", command=COMMAND, silence_s=silence_s) as pool, trio.open_nursery() as nursery:
        assert isinstance(pool, Pool)
        for _ in range(CALLERS):
            nursery.start_soon(_call, pool, waiting, report, every)
    report.left_behind = len(_children())
    return report


async def _call(pool: Pool, waiting: list[Case], report: Report, every: int) -> None:
    while waiting:
        case = waiting.pop(0)
        outcome = "no answer"
        with trio.move_on_after(JOB_S):
            outcome = await _outcome(pool, case)
        report.outcomes[case.kind, outcome] += 1
        if outcome not in case.allowed:
            report.unexpected.append(f"{case.kind}: {outcome}")
        if report.jobs % every == 0:
            report.samples.append(_sample(report))
        report.troubles = pool.troubles()


async def _outcome(pool: Pool, case: Case) -> str:
    pictures, events = set[int](), 0
    try:
        async with pool.run(case.work) as coming:
            if case.leave_after == 0:
                return CANCELLED
            async for event in coming:
                events += 1
                if events == case.leave_after:
                    return CANCELLED
                if isinstance(event, Picture):
                    assert event.index not in pictures, "a picture came twice"
                    pictures.add(event.index)
    except EngineError as error:
        return error.reason
    return DRAWN if len(pictures) == len(case.work.seeds) else "pictures are missing"


def _catalog(home: Path) -> Catalog:
    from tests.engine.tiny_pipelines import save_tiny_sd, save_tiny_sdxl

    catalog, sd = Catalog(home), save_tiny_sd(home / "a")
    for name in ("sd", "hungry", "touchy", "sleepy"):
        catalog.add(name, sd)
    catalog.add("sdxl", save_tiny_sdxl(home / "b"))
    catalog.add("hollow", model_folder(home / "hollow"))
    return catalog


def _children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if COMMAND[2] in " ".join(_command(one))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _sample(report: Report) -> Sample:
    node, children = psutil.Process(), _children()
    report.children_started |= {child.pid for child in children}
    child_mb = child_files = 0.0
    for child in children:
        try:
            child_mb, child_files = child.memory_info().rss / 1e6, child.num_fds()
        except psutil.Error:
            continue
    return Sample(report.jobs, node.memory_info().rss / 1e6, node.num_fds(), child_mb, int(child_files), len(children))
