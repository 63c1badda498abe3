"""Submit to picture: how long, how many a second, at what cost of CPU, over a mesh of real processes on loopback."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from meshgen.cli.local_mesh import LocalMesh, local_mesh, wait_for

OUTSTANDING = 32
LATENCY_JOBS = 60
LOAD_JOBS = 600
WARM_UP_JOBS = 64


@dataclass(frozen=True, slots=True)
class Row:
    workers: int
    cold_ms: float  # the very first job of a fresh requester
    p50_ms: float  # one job after the other
    p95_ms: float
    jobs_per_s: float  # OUTSTANDING jobs at a time
    cpu_s_per_job: float  # over all nodes' processes, under that load
    requester_cpu_s_per_job: float
    failed: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Client:
    """One connection to a node's API that is kept, as a well-made client keeps it."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def picture(self) -> bool:
        """Submit one job, wait for its end, fetch its picture."""
        body = json.dumps({"prompt": "benchmark", "steps": 4, "count": 1}).encode()
        job = json.loads(self._ask("POST", "/v1/jobs", body))["id"]
        if json.loads(self._ask("GET", f"/v1/jobs/{job}?wait_s=50"))["state"] != "done":
            return False
        return self._ask("GET", f"/v1/jobs/{job}/results/0").startswith(b"\x89PNG")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self._connection.request(method, path, body, self._headers)
        return self._connection.getresponse().read()


def measure(root: Path, workers: int) -> Row:
    with local_mesh(root, "meshgen-bench-v0") as mesh:
        _start(mesh, workers)
        client = _client(mesh)
        cold = _timed(client)
        for _ in range(10):
            client.picture()
        latencies = [_timed(client) for _ in range(LATENCY_JOBS)]
        _load(mesh, WARM_UP_JOBS)
        before = _cpu(mesh)
        started = time.perf_counter()
        failed = _load(mesh, LOAD_JOBS)
        seconds = time.perf_counter() - started
        spent = {name: after - before[name] for name, after in _cpu(mesh).items()}
    return Row(
        workers=workers,
        cold_ms=cold * 1000,
        p50_ms=statistics.median(latencies) * 1000,
        p95_ms=statistics.quantiles(latencies, n=20)[-1] * 1000,
        jobs_per_s=(LOAD_JOBS - failed) / seconds,
        cpu_s_per_job=sum(spent.values()) / LOAD_JOBS,
        requester_cpu_s_per_job=spent["requester"] / LOAD_JOBS,
        failed=failed,
    )


def _start(mesh: LocalMesh, workers: int) -> None:
    hub = mesh.start("hub", "hub")
    for number in range(workers):
        rules = {"worker__max_queue": 64, "worker__stranger_pictures_per_minute": 0}
        mesh.launch(f"worker-{number}", "worker", through=hub, worker__engine="fake", worker__fake_seconds=0, **rules)
    mesh.launch("requester", "requester", through=hub)
    mesh.await_ready(*mesh.nodes.values())
    api = mesh.nodes["requester"].api
    wait_for(lambda: sum(bool(peer["models"]) for peer in api.get("/v1/peers")["peers"]) == workers, "all workers", 60)


def _client(mesh: LocalMesh) -> Client:
    info = mesh.nodes["requester"].api.info
    return Client(info.url, Path(info.token_file).read_text())


def _timed(client: Client) -> float:
    started = time.perf_counter()
    if not client.picture():
        raise RuntimeError("a benchmark's job failed")
    return time.perf_counter() - started


def _load(mesh: LocalMesh, jobs: int) -> int:
    """So many jobs, OUTSTANDING at a time; how many failed."""
    left = deque(range(jobs))
    failed: list[int] = []

    def run() -> None:
        client = _client(mesh)
        while True:
            try:
                number = left.popleft()
            except IndexError:
                return
            if not client.picture():
                failed.append(number)

    threads = [threading.Thread(target=run) for _ in range(OUTSTANDING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(failed)


def _cpu(mesh: LocalMesh) -> dict[str, float]:
    times = {name: psutil.Process(node.process.pid).cpu_times() for name, node in mesh.nodes.items()}
    return {name: spent.user + spent.system for name, spent in times.items()}
