"""AI Horde's API on a node, next to the node's own: what it adds to a job, what a poll costs, and many clients that poll.

``python -m tests.bench.api`` runs this part alone. AI Horde's own server takes 8 ms for a poll when nobody else asks, and
0.4 CPU-s for a job that is polled every 50 ms.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import trio

from meshgen.cli.local_mesh import LocalMesh, LocalNode, local_mesh, wait_for

JOBS = 60
POLLS = 400
POLL_S = 0.05
PENDING = 1000
CLIENTS = 50
EVERY_S = 1.0
ROUNDS = 15
HEALTHY = 0.9
"""Polls that must have been made, of those that were due: else the figures say nothing."""


class Connection:
    """HTTP/1.1 with as little work on this side as can be: one connection that is kept."""

    def __init__(self, node: LocalNode) -> None:
        parts = urlsplit(node.api.info.url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        token, key = ((node.home / name).read_text().strip() for name in ("api.token", "api.key"))
        self._head = f"Host: {self._host}:{self._port}\r\nAuthorization: Bearer {token}\r\napikey: {key}\r\n"
        self._stream: trio.SocketStream | None = None

    async def ask(self, method: str, path: str, document: Any = None) -> Any:
        """The answer's JSON, or its bytes if it is none."""
        body = json.dumps(document).encode() if document is not None else b""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(self._host, self._port)
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
        with local_mesh(Path(folder) / "many", "meshgen-bench-v0") as mesh:
            node = _start(mesh, seconds=3600.0)
            trio.run(_many, node, figures)
    return figures


def _start(mesh: LocalMesh, seconds: float) -> LocalNode:
    hub = mesh.start("hub", "hub")
    rules = {"worker__max_queue": 4096, "worker__stranger_pictures_per_minute": 0}
    mesh.launch("worker", "worker", through=hub, worker__engine="fake", worker__fake_seconds=seconds, **rules)
    limits = {"limits__open_jobs": PENDING + 100, "api__requests_per_minute": 1_000_000}
    mesh.launch("requester", "requester", through=hub, **limits)
    mesh.await_ready(*mesh.nodes.values())
    node = mesh.nodes["requester"]
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
    connection, times = Connection(node), {_native: list[float](), _horde: list[float]()}
    for _ in range(10):
        await _native(connection)
        await _horde(connection)
    for _ in range(JOBS):
        for way, spent in times.items():
            spent.append(await _timed(partial(way, connection)))
    native, horde = (statistics.median(spent) * 1000 for spent in times.values())
    figures["a job by the node's own API, p50 ms"] = native
    figures["a job by AI Horde's API, p50 ms"] = horde
    figures["added by AI Horde's API, ms"] = horde - native
    job = (await connection.ask("POST", "/api/v2/generate/async", HORDE_WISH))["id"]
    polls = [await _timed(partial(connection.ask, "GET", f"/api/v2/generate/check/{job}")) for _ in range(POLLS)]
    figures["a poll when nobody else asks, p50 ms"] = statistics.median(polls) * 1000
    figures["polls one after the other, /s"] = POLLS / sum(polls)


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
    times = [psutil.Process(node.process.pid).cpu_times() for node in mesh.nodes.values()]
    return sum(spent.user + spent.system for spent in times)


# -- many clients


@dataclass
class Many:
    waits: list[float] = field(default_factory=list)
    due: int = 0


async def _many(node: LocalNode, figures: dict[str, float]) -> None:
    connection = Connection(node)
    jobs = [(await connection.ask("POST", "/api/v2/generate/async", HORDE_WISH))["id"] for _ in range(PENDING)]
    await _awaited(connection, jobs[-1])
    process, seen = psutil.Process(node.process.pid), Many()
    before, spent = process.memory_info().rss, process.cpu_times()
    async with trio.open_nursery() as nursery:
        for number in range(CLIENTS):
            nursery.start_soon(_client, Connection(node), jobs[number::CLIENTS], seen)
    after = process.cpu_times()
    name = f"{PENDING:,} jobs pending, {CLIENTS} clients poll all each second"
    assert len(seen.waits) > HEALTHY * seen.due, f"{len(seen.waits)} of {seen.due} polls were made"
    figures[f"{name}: polls/s"] = len(seen.waits) / (ROUNDS * EVERY_S)
    figures[f"{name}: p50 ms"] = statistics.median(seen.waits) * 1000
    figures[f"{name}: p95 ms"] = statistics.quantiles(seen.waits, n=20)[-1] * 1000
    figures[f"{name}: CPU of the node, share of a core"] = (after.user + after.system - spent.user - spent.system) / (
        ROUNDS * EVERY_S
    )
    figures[f"{name}: memory grown, MiB"] = (process.memory_info().rss - before) / 2**20


async def _awaited(connection: Connection, job: str) -> None:
    """Until a worker has been found for all."""

    async def taken() -> bool:
        check = await connection.ask("GET", f"/api/v2/generate/check/{job}")
        return bool(check["processing"] or check["queue_position"])

    await _until(taken, 0.5)


async def _client(connection: Connection, jobs: list[str], seen: Many) -> None:
    """Polls its jobs evenly over each second; one that is late does not hurry."""
    gap, started = EVERY_S / len(jobs), trio.current_time() + random.random() * EVERY_S
    for number in range(ROUNDS * len(jobs)):
        seen.due += 1
        await trio.sleep_until(started + number * gap)
        if trio.current_time() > started + ROUNDS * EVERY_S:
            return
        poll = partial(connection.ask, "GET", f"/api/v2/generate/check/{jobs[number % len(jobs)]}")
        seen.waits.append(await _timed(poll))


def table(figures: dict[str, float]) -> str:
    return "\n".join(f"{name:<90} {value:>10.2f}" for name, value in figures.items())


if __name__ == "__main__":
    print(table(api()))
