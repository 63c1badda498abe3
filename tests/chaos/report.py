"""What is left when the weather is over, and whether it is as it should be."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from meshgen.ledger.store import open_read_only
from meshgen.ledger.verify import verify_home
from meshgen.protocols.credit import RECEIPT, Receipt
from tests.chaos.clients import Tally
from tests.chaos.town import Town

GROWTH_MB, GROWTH_FILES = 40.0, 40
"""How much a node may hold more than it did once it had settled. A connection is a file; nodes come and go."""


@dataclass(frozen=True)
class Usage:
    """Of one life of a node's process."""

    pid: int
    mb: float
    files: int
    threads: int


def usage(town: Town) -> dict[str, Usage]:
    found = {}
    for name, node in town.mesh.nodes.items():
        try:
            process = psutil.Process(node.process.pid)
            found[name] = Usage(node.process.pid, process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())
        except psutil.Error:
            continue
    return found


def faults_of_logs(town: Town) -> Iterator[str]:
    """Of all nodes, which are stopped: no fault, no fork, nothing out of nothing, nothing paid twice."""
    for name, node in town.mesh.nodes.items():
        report = verify_home(node.home)
        yield from (f"{name}: {fault}" for fault in report.faults)
        yield from (f"{name} holds proof that {fork.author.hex()[:16]} forked" for fork in report.forks)
        if report.total:
            yield f"{name}: the balances add up to {report.total}"
        yield from (f"{name}: {fault}" for fault in _paid_twice(node.home))


def entries(town: Town) -> int:
    return max(verify_home(node.home).entries for node in town.mesh.nodes.values())


def _paid_twice(home: Path) -> Iterator[str]:
    with open_read_only(home) as store:
        paid = Counter[bytes]()
        for author in store.authors():
            for row in store.chain(author, after=0):
                if row.kind == RECEIPT:
                    paid[Receipt.from_entry(row.revive(verify=False)).hold_id] += 1
        yield from (f"hold {hold.hex()[:16]} was paid {times} times" for hold, times in paid.items() if times > 1)


def table(
    struck: Counter[str], tallies: Sequence[Tally], before: dict[str, Usage], after: dict[str, Usage], ended: list[str]
) -> str:
    ends = sum((tally.ends for tally in tallies), Counter[str]())
    seconds = sorted(second for tally in tallies for second in tally.seconds)
    lines = ["faults: " + ", ".join(f"{kind} {times}" for kind, times in sorted(struck.items()))]
    lines += [f"nodes that ended by themselves: {len(ended)}", *(f"  {one}" for one in ended[:8]), ""]
    lines += [f"{'jobs':>6}  how they ended", *(f"{jobs:>6}  {_plain(end)}" for end, jobs in _alike(ends).most_common())]
    if seconds:
        p95 = seconds[min(len(seconds) - 1, len(seconds) * 95 // 100)]
        lines.append(f"pictures came after {statistics.median(seconds):.1f} s (median), {p95:.1f} s (95 %), {seconds[-1]:.1f} s")
    lines += ["", f"{'node':<14}{'MB':>6}{'files':>7}{'threads':>9}   at the end{'MB':>6}{'files':>7}{'threads':>9}"]
    for name, end in after.items():
        start = before.get(name, end)
        row = (
            f"{name:<14}{start.mb:>6.0f}{start.files:>7}{start.threads:>9}   {'':<10}{end.mb:>6.0f}{end.files:>7}{end.threads:>9}"
        )
        lines.append(row + ("" if start.pid == end.pid else "   another life"))
    return "\n".join(lines)


def growth(before: dict[str, Usage], after: dict[str, Usage]) -> Iterator[str]:
    """A new life is held against the last one: both had settled."""
    for name, end in after.items():
        start = before.get(name, end)
        if end.mb > start.mb + GROWTH_MB or end.files > start.files + GROWTH_FILES:
            yield f"{name} grew from {start.mb:.0f} MB and {start.files} files to {end.mb:.0f} MB and {end.files} files"


def _alike(ends: Counter[str]) -> Counter[str]:
    """Reasons that differ in names and numbers alone are one."""
    found = Counter[str]()
    for end, jobs in ends.items():
        found[re.sub(r"[\w-]*#\w{6}|12D3\w+|\d+(\.\d+)?", "…", end)] += jobs
    return found


def _plain(text: str) -> str:
    return text if len(text) <= 150 else text[:149] + "…"
