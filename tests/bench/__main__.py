"""``python -m tests.bench``: the mesh's own cost, with engines that draw in no time, and the engine's.

A table, and as JSON in ``.bench/``.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.bench.api import api
from tests.bench.api import table as api_table
from tests.bench.curves import curves
from tests.bench.curves import table as curves_table
from tests.bench.dispatch import Row, measure
from tests.bench.engine import engine
from tests.bench.engine import table as engine_table
from tests.bench.ledger import ledger
from tests.bench.ledger import table as ledger_table
from tests.bench.scale import scale
from tests.bench.scale import table as scale_table
from tests.bench.standing import standing
from tests.bench.startup import startup
from tests.bench.sync import gaps
from tests.bench.sync import table as sync_table
from tests.bench.text import text

OUT = Path(".bench")
WORKERS = (1, 4, 8)
NODES, PEERS = (8, 16, 32), (100, 1_000)
"""Real processes, and peers on the in-memory net."""
AIM = {"p50_ms": 15.0, "jobs_per_s": 60.0, "cpu_s_per_job": 0.02}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--peers", type=int, nargs="+", default=PEERS, help="sizes of the mesh on the in-memory net")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="meshgen-bench-") as folder:
        rows = [measure(Path(folder) / str(workers), workers) for workers in WORKERS]
        starts = startup(Path(folder) / "startup")
        caught_up = gaps(Path(folder) / "sync")
        log_figures = ledger(Path(folder) / "ledger")
    api_figures = api()
    engine_figures = engine()
    print(_table(rows))
    print(f"aims: p50 {AIM['p50_ms']:g} ms, {AIM['jobs_per_s']:g} jobs/s, {AIM['cpu_s_per_job']:g} CPU-s a job\n")
    for name, value in starts.items():
        print(f"{name:<44} {value:>8.3f}")
    print("\n" + sync_table(caught_up) + "\n")
    print(ledger_table(log_figures) + "\n")
    print(api_table(api_figures) + "\n")
    print(engine_table(engine_figures) + "\n")
    writing = text()
    for name, value in writing.items():
        print(f"{name:<60} {value:>8.3f}")
    nodes, peers = scale(NODES), curves(given.peers, lambda line: print(line, file=sys.stderr, flush=True))
    print("\n" + scale_table(nodes) + "\n")
    print(curves_table(peers))
    OUT.mkdir(exist_ok=True)
    document = {
        "machine": {"python": platform.python_version(), "processor": platform.processor() or platform.machine()},
        "dispatch": [row.as_dict() for row in rows],
        "startup": starts,
        "sync": [gap.as_dict() for gap in caught_up],
        "ledger": log_figures,
        "api": api_figures,
        "engine": engine_figures,
        "standing": standing(),
        "text": writing,
        "scale": [asdict(row) for row in nodes],
        "curves": [asdict(row) for row in peers],
    }
    (OUT / "dispatch.json").write_text(json.dumps(document, indent=2) + "\n")


def _table(rows: list[Row]) -> str:
    heads = ("workers", "cold ms", "p50 ms", "p95 ms", "jobs/s", "CPU-s/job", "of it requester", "failed")
    lines = ["  ".join(f"{head:>15}" for head in heads)]
    for row in rows:
        cells = (
            f"{row.workers}",
            f"{row.cold_ms:.1f}",
            f"{row.p50_ms:.1f}",
            f"{row.p95_ms:.1f}",
            f"{row.jobs_per_s:.1f}",
            f"{row.cpu_s_per_job:.4f}",
            f"{row.requester_cpu_s_per_job:.4f}",
            f"{row.failed}",
        )
        lines.append("  ".join(f"{cell:>15}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
