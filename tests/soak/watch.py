"""What a soak takes of the machine: processes, memory, files and threads, and how much they may grow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import groupby

import psutil

MAX_CHILDREN = 1
"""One device is one child; a second one is there only while nobody looks."""


@dataclass(frozen=True)
class Usage:
    """``mb``: resident."""

    mb: float
    files: int
    threads: int

    def over(self, base: Usage) -> Usage:
        return Usage(self.mb - base.mb, self.files - base.files, self.threads - base.threads)

    def within(self, most: Usage) -> bool:
        return all(mine <= its for mine, its in zip(astuple(self), astuple(most), strict=True))

    def __str__(self) -> str:
        return f"{self.mb:.0f} MB, {self.files} files, {self.threads} threads"


NODE_GROWTH = Usage(mb=16, files=6, threads=8)
"""From a quarter of the soak to its end. A child that starts has three pipes; trio keeps idle threads for seconds."""
CHILD_GROWTH = Usage(mb=96, files=8, threads=8)
"""From the oldest child's first sight to its last; and from the largest of the first quarter to the largest of the last."""


@dataclass(frozen=True)
class Sample:
    """After so many jobs. ``child``: None while none is there."""

    jobs: int
    node: Usage
    children: int
    pid: int
    child: Usage | None


def take_sample(jobs: int, children: Sequence[psutil.Process]) -> Sample:
    child = next(iter(children), None)
    return Sample(jobs, _usage(psutil.Process()), len(children), child.pid if child else 0, _usage_if_alive(child))


def children_of(module: str) -> list[psutil.Process]:
    """Processes below this one that run a module, dead ones that nobody waited for included."""
    return [one for one in psutil.Process().children(recursive=True) if _runs(one, module)]


def growth(samples: Sequence[Sample]) -> Iterator[str]:
    """What has grown beyond its bound; nothing is said of a soak of a few jobs."""
    if any(sample.children > MAX_CHILDREN for sample in samples):
        yield f"{max(sample.children for sample in samples)} children at once"
    if len(samples) < 8:
        return
    quarter = len(samples) // 4
    if not (grown := samples[-1].node.over(samples[quarter].node)).within(NODE_GROWTH):
        yield f"the node grew by {grown}"
    if not (grown := _largest(samples[-quarter:]).over(_largest(samples[: quarter + 1]))).within(CHILD_GROWTH):
        yield f"children grew by {grown}"
    old = oldest(samples)
    if len(old) > 1 and old[0].child and old[-1].child and not (grown := old[-1].child.over(old[0].child)).within(CHILD_GROWTH):
        yield f"the oldest child grew by {grown}"


def oldest(samples: Iterable[Sample]) -> list[Sample]:
    """Those of the child that was seen most often."""
    lives = [list(life) for pid, life in groupby(samples, lambda sample: sample.pid) if pid]
    return [sample for sample in max(lives, key=len, default=[]) if sample.child]


def _largest(samples: Iterable[Sample]) -> Usage:
    rows = [astuple(sample.child) for sample in samples if sample.child]
    return Usage(*(max(column) for column in zip(*rows, strict=True))) if rows else Usage(0, 0, 0)


def _usage(process: psutil.Process) -> Usage:
    with process.oneshot():
        return Usage(process.memory_info().rss / 1e6, process.num_fds(), process.num_threads())


def _usage_if_alive(process: psutil.Process | None) -> Usage | None:
    try:
        return _usage(process) if process else None
    except psutil.Error:
        return None


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        return module in process.cmdline() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
