"""How long people wait before anything happens, and what an idle node takes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from meshgen.cli.local_mesh import local_mesh

ROUNDS = 5


def startup(root: Path) -> dict[str, float]:
    """Seconds, the best of a few; memory in MB."""
    with local_mesh(root, "meshgen-bench-v0") as mesh:
        started = time.perf_counter()
        hub = mesh.start("hub", "hub", "archivist")
        ready = time.perf_counter() - started
        return {
            "meshgen --help, s": _command("--help"),
            "meshgen status, s": _command("status", "--home", str(hub.home)),
            "a node ready to serve requests, s": ready,
            "memory of a node without engine, MB": psutil.Process(hub.process.pid).memory_info().rss / 1e6,
        }


def _command(*words: str) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "meshgen.cli", *words], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return min(times)
