"""What a mesh of 8, 16, 32 real processes costs each of its nodes; alone: ``python -m tests.bench.scale``.

All live in a network namespace of their own, whose loopback counts their bytes. Half of the nodes are workers, one is the door.
Processes share the machine's processors, so their times grow with their number for that alone: read them as ratios.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meshgen.peers.directory import PRESENCE_S, SHARE_S
from tests.bench.growth import column, head

SIZES = (8, 16, 32)
OFFERS = 20
GAP_S = 1.2
"""Between two offers: each is gossiped, which a faster asker would not do."""
SETTLE_S = 60.0
"""Who has just come is told of, and tables fill."""
LOOKUPS = 10
KNOW_S = 120.0
TAKEN_S = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """A mesh of ``nodes``. Per offer: all that it causes, its job included, beyond what the mesh does when idle."""

    nodes: int
    join_p50_s: float
    """From a node's first word to knowing of all that are there."""
    offer_p50_ms: float
    """From its submission to each worker's hearing of it."""
    offer_p95_ms: float
    delivered: float
    """Of all pairs of an offer and a worker."""
    offer_kb: float
    """Bytes that an offer moves, by the number of nodes."""
    offer_cpu_ms: float
    idle_kb_s: float
    idle_cpu: float
    """Share of a processor."""
    mb: float
    lookup_p50_ms: float


class Process:
    def __init__(self, enter: Sequence[str], home: Path, roles: str, doors: Sequence[str]) -> None:
        command = [*enter, sys.executable, "-m", "tests.bench.scale_node", str(home), roles, *doors]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, verb: str) -> Any:
        self.say(verb)
        return self.answer()

    def say(self, verb: str) -> None:
        assert self._process.stdin
        print(verb, file=self._process.stdin, flush=True)

    def answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def scale(sizes: Sequence[int] = SIZES) -> list[Row]:
    return [_measure(size) for size in sizes]


def _measure(size: int) -> Row:
    with tempfile.TemporaryDirectory(prefix="meshgen-scale-") as folder, ExitStack() as stack:
        enter, moved = stack.enter_context(_namespace())

        def node(name: str, roles: str, *doors: str) -> Process:
            made = Process(enter, Path(folder) / name, roles, doors)
            stack.callback(made.close)
            return made

        door = node("hub", "hub")
        nodes, address = [door], door.answer()
        joins = []
        for number in range(1, size):
            made = node(str(number), "worker" if number % 2 else "requester", address)
            nodes.append(made)
            joins.append(_join_s(made, len(nodes) - 1))
        _await(lambda: all(one.ask("known") >= size - 1 for one in nodes))
        time.sleep(SETTLE_S)
        idle = _spent(nodes, moved, _idle_s(size))
        workers, asker = nodes[1::2], nodes[2]
        busy, delays, delivered = _offers(nodes, workers, asker, moved)
        lookups = [asker.ask("lookup")[0] for _ in range(LOOKUPS)]
        memory = statistics.mean(one.ask("cpu")[1] for one in nodes)
    extra_s = busy.seconds / OFFERS
    return Row(
        nodes=size,
        join_p50_s=statistics.median(joins),
        offer_p50_ms=statistics.median(delays) * 1000,
        offer_p95_ms=statistics.quantiles(delays, n=20)[-1] * 1000,
        delivered=delivered,
        offer_kb=(busy.bytes / OFFERS - idle.bytes / idle.seconds * extra_s) / size / 1000,
        offer_cpu_ms=(busy.cpu_s / OFFERS - idle.cpu_s / idle.seconds * extra_s) / size * 1000,
        idle_kb_s=idle.bytes / idle.seconds / size / 1000,
        idle_cpu=idle.cpu_s / idle.seconds / size,
        mb=memory,
        lookup_p50_ms=statistics.median(lookups) * 1000,
    )


def _idle_s(size: int) -> float:
    """In which each says once or twice that it is there."""
    return 1.2 * max(PRESENCE_S, SHARE_S * size / math.log2(1 + size))


def _join_s(node: Process, others: int) -> float:
    node.answer()
    began = time.perf_counter()
    _await(lambda: node.ask("known") >= others)
    return time.perf_counter() - began


def _await(true: Any) -> None:
    end = time.monotonic() + KNOW_S
    while not true():
        if time.monotonic() > end:
            raise RuntimeError("the nodes do not find each other")
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Spent:
    seconds: float
    cpu_s: float
    bytes: int


def _spent(nodes: Sequence[Process], moved: Any, seconds: float, work: Any = None) -> Spent:
    cpu, bytes_, began = _cpu_s(nodes), moved(), time.perf_counter()
    if work is None:
        time.sleep(seconds)
    else:
        work()
    return Spent(time.perf_counter() - began, _cpu_s(nodes) - cpu, moved() - bytes_)


def _cpu_s(nodes: Sequence[Process]) -> float:
    return float(sum(one.ask("cpu")[0] for one in nodes))


def _offers(nodes: Sequence[Process], workers: Sequence[Process], asker: Process, moved: Any) -> tuple[Spent, list[float], float]:
    began: list[float] = []

    def ask() -> None:
        for _ in range(OFFERS):
            at_s, state = asker.ask("offer")
            if state != "done":
                raise RuntimeError(f"a job is {state}")
            began.append(at_s)
            time.sleep(GAP_S)

    asker.ask("offer")
    time.sleep(GAP_S)
    busy = _spent(nodes, moved, 0, ask)
    time.sleep(2)
    delays = []
    for worker in workers:
        first: dict[str, float] = {}
        for offer, at_s in worker.ask("heard"):
            first.setdefault(offer, at_s)
        for start_s in began:
            heard = [at_s - start_s for at_s in first.values() if 0 <= at_s - start_s < GAP_S]
            delays += heard[:1]
    return busy, delays, len(delays) / (OFFERS * len(workers))


@contextmanager
def _namespace() -> Iterator[tuple[list[str], Any]]:
    """What to put before a command, and how many bytes its loopback has moved; the machine's where there are none."""
    hold = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", "ip link set lo up && echo ready; exec cat"]
    holder = subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert holder.stdout is not None
    try:
        if holder.stdout.readline():
            enter = ["nsenter", "--target", str(holder.pid), "--user", "--net", "--preserve-credentials", "--"]
            yield enter, lambda: _loopback_bytes(Path(f"/proc/{holder.pid}/net/dev"))
        else:
            yield [], lambda: _loopback_bytes(Path("/proc/net/dev"))
    finally:
        holder.kill()
        holder.communicate()


def _loopback_bytes(file: Path) -> int:
    line = next(line for line in file.read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split()[1])


def table(rows: Sequence[Row]) -> str:
    names = {
        "join_p50_s": "join, s p50",
        "offer_p50_ms": "offer to each worker, ms p50",
        "offer_p95_ms": "offer to each worker, ms p95",
        "delivered": "of them heard",
        "offer_kb": "an offer and its job, kB a node",
        "offer_cpu_ms": "an offer and its job, CPU-ms a node",
        "idle_kb_s": "idle, kB/s a node",
        "idle_cpu": "idle, share of a CPU a node",
        "mb": "memory, MB a node",
        "lookup_p50_ms": "look-up in the table, ms p50",
    }
    cells, sizes = [asdict(row) for row in rows], [row.nodes for row in rows]
    lines = [f"{'nodes':<40}" + "".join(f"{size:>10}" for size in sizes) + head(sizes, 2)]
    for name, shown in names.items():
        values = [row[name] for row in cells]
        lines.append(f"{shown:<40}" + "".join(f"{value:>10.3f}" for value in values) + column(sizes, values, 2))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(scale(tuple(map(int, sys.argv[1:])) or SIZES)))
