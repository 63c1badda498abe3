"""Many mixed jobs through one engine, with its resources watched."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from meshgen.engine.pool.engine import Pool, open_engine
from meshgen.engine.port import EngineError, Picture
from tests.soak.faulty_child import BORN, DEADLY
from tests.soak.mix import CANCELLED, DRAWN, Case, Story, count
from tests.soak.models import GOOD, catalog_of
from tests.soak.watch import Sample, children_of, growth, take_sample

CALLERS = 6
JOB_S = 600.0
SAMPLES = 100
CHILD = "tests.soak.faulty_child"
NO_ANSWER, MISSING = "no answer", "pictures are missing"


@dataclass
class Report:
    """``happened``: faults, by kind of job; ``restarts``: processes that were replaced because of such a job."""

    jobs: int
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    children: int = 0
    left_behind: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.outcomes.total()

    @property
    def wrong(self) -> list[str]:
        """Empty if all was as it should be."""
        left = [f"{self.left_behind} processes left behind"] if self.left_behind else []
        lost = [f"{self.jobs - self.done} jobs were never asked"] if self.done != self.jobs else []
        return [*self.unexpected, *left, *lost, *growth(self.samples)]


async def soak(home: Path, told: Sequence[Story], silence_s: float, tell: Callable[[Sample], None] | None = None) -> Report:
    """Raises nothing for a job's sake: what came of each is in the report. ``tell`` hears how far it is."""
    report, waiting, deeds = Report(count(list(told))), list(told), home / "deeds"
    names = {case.work.model for story in told for case in story} - {*GOOD, "unknown"}
    catalog = await trio.to_thread.run_sync(catalog_of, home, sorted(names))
    command = (sys.executable, "-m", CHILD, str(deeds))
    async with open_engine(catalog, "cpu", command=command, silence_s=silence_s) as pool, trio.open_nursery() as nursery:
        assert isinstance(pool, Pool)
        for _ in range(CALLERS):
            nursery.start_soon(_call, pool, waiting, report, tell)
    report.left_behind = len(children_of(CHILD))
    _read_deeds(deeds, report)
    return report


async def _call(pool: Pool, waiting: list[Story], report: Report, tell: Callable[[Sample], None] | None) -> None:
    while waiting:
        for case in waiting.pop(0):
            outcome = NO_ANSWER
            with trio.move_on_after(JOB_S):
                outcome = await _outcome(pool, case)
            _note(report, case, outcome)
            if outcome == DRAWN and _is_due(report):  # a child is there then
                report.samples.append(take_sample(report.done, children_of(CHILD)))
                if tell:
                    tell(report.samples[-1])
        report.troubles = pool.troubles()


def _note(report: Report, case: Case, outcome: str) -> None:
    report.outcomes[case.kind, outcome] += 1
    if outcome not in case.allowed:
        report.unexpected.append(f"{case.kind}, model {case.work.model}: {outcome}")


def _is_due(report: Report) -> bool:
    last = report.samples[-1].jobs if report.samples else 0
    return report.done - last >= report.jobs // SAMPLES


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
    return DRAWN if len(pictures) == len(case.work.seeds) else MISSING


def _read_deeds(deeds: Path, report: Report) -> None:
    """A child whose last deed was deadly was replaced because of it; the last child of all ended with the engine."""
    rows = [line.split("\t") for line in deeds.read_text().splitlines()]
    last = {pid: (deed, kind) for pid, deed, kind in rows}
    report.children = len(last)
    report.happened.update(kind for _, deed, kind in rows if deed != BORN)
    for deed, kind in list(last.values())[:-1]:
        report.restarts[kind if deed in DEADLY else "something else"] += 1
