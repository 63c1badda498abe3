"""AI Horde's API on a node, next to the node's own: what it adds to a job, what a poll costs, and many clients that poll.

``python -m tests.bench.api`` runs this part alone. AI Horde's own server takes 8 ms for a poll when nobody else asks, and
0.4 CPU-s for a job that is polled every 50 ms.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import trio

from meshgen.cli.local_mesh import LocalMesh, LocalNode, local_mesh, wait_for
from tests.bench.poller import Plan, poll_apart

JOBS = 60
POLLS = 800
POLL_S = 0.05
PENDING = 1000
CLIENTS = 50
EVERY_S = 1.0
ROUNDS = 10
QUIET_S = 5.0


class Connection:
    """HTTP/1.1 with as little work on this side as can be: one connection that is kept."""

    def __init__(self, node: LocalNode) -> None:
        parts = urlsplit(node.api.info.url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        token, key = ((node.home / name).read_text().strip() for name in ("api.token", "api.key"))
        self.head = f"Host: {self.host}:{self.port}\r\nAuthorization: Bearer {token}\r\napikey: {key}\r\n"
        self._stream: trio.SocketStream | None = None

    async def ask(self, method: str, path: str, document: Any = None) -> Any:
        """The answer's JSON, or its bytes if it is none."""
        body = json.dumps(document).encode() if document is not None else b""
        head = f"{method} {path} HTTP/1.1\r\n{self.head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(self.host, self.port)
        await self._stream.send_all(head.encode() + body)
        return await self._answer(self._stream)

    async def _answer(self, stream: trio.SocketStream) -> Any:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        head, _, body = data.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields[b"content-length"]):
            body += await stream.receive_some()
        if fields.get(b"connection") == b"close":  # after so many requests
            await stream.aclose()
            self._stream = None
        if not 200 <= int(head[9:12]) < 300:
            raise RuntimeError(f"the node answered {head[:40]!r} {body[:200]!r}")
        return json.loads(body) if fields[b"content-type"].startswith(b"application/json") else body


def api() -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="meshgen-bench-") as folder:
        with local_mesh(Path(folder) / "quick", "meshgen-bench-v0") as mesh:
            node = _start(mesh, seconds=0.0)
            trio.run(_added, node, figures)
        with local_mesh(Path(folder) / "polled", "meshgen-bench-v0") as mesh:
            node = _start(mesh, seconds=1.0)
            trio.run(_polled, mesh, figures)
        with local_mesh(Path(folder) / "busy", "meshgen-bench-v0") as mesh:
            _many(_start(mesh, seconds=3600.0), "the worker has no room", figures)
        with local_mesh(Path(folder) / "nobody", "meshgen-bench-v0") as mesh:
            _many(_start(mesh, seconds=None), "no worker is there", figures)
    return figures


def _start(mesh: LocalMesh, seconds: float | None) -> LocalNode:
    """Three nodes, whose worker takes so long for a picture; None = there is no worker."""
    hub = mesh.start("hub", "hub")
    if seconds is not None:
        free = {"worker__stranger_pictures_per_minute": 0}
        mesh.launch("worker", "worker", through=hub, worker__engine="fake", worker__fake_seconds=seconds, **free)
    limits = {"limits__open_jobs": PENDING + 100, "api__requests_per_minute": 1_000_000}
    mesh.launch("requester", "requester", through=hub, **limits)
    mesh.await_ready(*mesh.nodes.values())
    node = mesh.nodes["requester"]
    if seconds is not None:
        wait_for(lambda: any(peer["models"] for peer in node.api.get("/v1/peers")["peers"]), "the worker", 60)
    return node


# -- a job from submission to picture, in both ways

WISH = {"prompt": "benchmark", "steps": 4}
HORDE_WISH = {"prompt": "benchmark", "r2": False, "params": {"width": 64, "height": 64, "steps": 4}}


async def _native(connection: Connection) -> None:
    job = (await connection.ask("POST", "/v1/jobs", WISH))["id"]
    await connection.ask("GET", f"/v1/jobs/{job}?wait_s=50")
    await connection.ask("GET", f"/v1/jobs/{job}/results/0")


async def _horde(connection: Connection, pause_s: float = 0.002) -> None:
    job = (await connection.ask("POST", "/api/v2/generate/async", HORDE_WISH))["id"]
    await _until(lambda: _is_done(connection, job), pause_s)
    assert (await connection.ask("GET", f"/api/v2/generate/status/{job}"))["generations"]


async def _is_done(connection: Connection, job: str) -> bool:
    return bool((await connection.ask("GET", f"/api/v2/generate/check/{job}"))["done"])


async def _until(reached: Callable[[], Awaitable[bool]], pause_s: float) -> None:
    """Another process can only be asked again and again."""
    with trio.fail_after(300):
        while not await reached():  # noqa: ASYNC110
            await trio.sleep(pause_s)


async def _added(node: LocalNode, figures: dict[str, float]) -> None:
    """On one connection; the ways take turns."""
    connection, times = Connection(node), {_native: list[float](), _horde: list[float]()}
    for _ in range(10):
        await _native(connection)
        await _horde(connection)
    for turn in range(JOBS):
        for way in list(times)[:: -1 if turn % 2 else 1]:  # whoever is second may find the machine warmer
            times[way].append(await _timed(partial(way, connection)))
    native, horde = (statistics.median(spent) * 1000 for spent in times.values())
    figures["a job by the node's own API, p50 ms"] = native
    figures["a job by AI Horde's API, p50 ms"] = horde
    figures["added by AI Horde's API, ms"] = horde - native
    job = (await connection.ask("POST", "/api/v2/generate/async", HORDE_WISH))["id"]
    process = psutil.Process(node.process.pid)
    spent_s = _spent_s(process)
    polls = [await _timed(partial(connection.ask, "GET", f"/api/v2/generate/check/{job}")) for _ in range(POLLS)]
    figures["a poll when nobody else asks, p50 ms"] = statistics.median(polls) * 1000
    figures["polls on one connection, one after the other, /s"] = POLLS / sum(polls)
    poll_ms = (_spent_s(process) - spent_s) / POLLS * 1000
    figures["CPU of the node for a poll, ms"] = poll_ms
    figures["polls that fill a core, /s"] = 1000 / poll_ms


async def _timed(what: Callable[[], Any]) -> float:
    started = time.perf_counter()
    await what()
    return time.perf_counter() - started


async def _polled(mesh: LocalMesh, figures: dict[str, float]) -> None:
    """A job of a second, polled every 50 ms: CPU of all nodes."""
    connection = Connection(mesh.nodes["requester"])
    await _horde(connection, POLL_S)
    before = _cpu_s(mesh)
    for _ in range(5):
        await _horde(connection, POLL_S)
    figures["CPU-s for a job of 1 s polled every 50 ms"] = (_cpu_s(mesh) - before) / 5


def _cpu_s(mesh: LocalMesh) -> float:
    return sum(_spent_s(psutil.Process(node.process.pid)) for node in mesh.nodes.values())


def _spent_s(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


# -- many clients


def _many(node: LocalNode, case: str, figures: dict[str, float]) -> None:
    """Each of CLIENTS, on a connection of its own, polls its share of PENDING jobs, all within each second."""
    process, name = psutil.Process(node.process.pid), f"{PENDING:,} pending, {case}: "
    started, spent = time.perf_counter(), _spent_s(process)
    jobs = trio.run(_submitted, node)
    figures[name + "submitted, jobs/s"] = PENDING / (time.perf_counter() - started)
    figures[name + "CPU of the node for a submission, ms"] = (_spent_s(process) - spent) / PENDING * 1000
    spent = _spent_s(process)
    time.sleep(QUIET_S)
    unpolled = (_spent_s(process) - spent) / QUIET_S
    figures[name + "CPU of the node when nobody polls, share of a core"] = unpolled
    memory, spent, started = process.memory_info().rss, _spent_s(process), time.perf_counter()
    connection = Connection(node)
    clients = tuple(tuple(f"/api/v2/generate/check/{job}" for job in jobs[number::CLIENTS]) for number in range(CLIENTS))
    seen = poll_apart(Plan(connection.host, connection.port, connection.head, clients, EVERY_S, ROUNDS))
    spent, took = _spent_s(process) - spent, time.perf_counter() - started
    name += f"{CLIENTS} clients poll each every second: "
    figures[name + "answered, % of those due"] = 100 * (len(seen.waits) - seen.refused) / seen.due
    figures[name + "p50 ms"] = statistics.median(seen.waits) * 1000
    figures[name + "p95 ms"] = statistics.quantiles(seen.waits, n=20)[-1] * 1000
    figures[name + "CPU of the node, share of a core"] = spent / took
    figures[name + "CPU of the node for a poll, ms"] = max(0.0, spent - unpolled * took) / len(seen.waits) * 1000
    figures[name + "CPU of the clients, share of a core"] = seen.cpu_s / took
    figures[name + "memory of the node, MiB"] = process.memory_info().rss / 2**20
    figures[name + "of it grown meanwhile, MiB"] = (process.memory_info().rss - memory) / 2**20


async def _submitted(node: LocalNode) -> list[str]:
    connection = Connection(node)
    return [(await connection.ask("POST", "/api/v2/generate/async", HORDE_WISH))["id"] for _ in range(PENDING)]


def table(figures: dict[str, float]) -> str:
    return "\n".join(f"{name:<115} {value:>10.2f}" for name, value in figures.items())


if __name__ == "__main__":
    print(table(api()))
