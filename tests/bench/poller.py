"""Many clients that poll, as a process of its own that takes little of the machine: raw sockets, one kept connection a client.

``python -m tests.bench.poller`` reads a Plan as JSON on its input and writes what it saw as JSON. Each path of a client's is
asked once in ``every_s`` at a moment of its own; a wait is counted from when the poll was due, so that a server that is late
gains nothing by it.
"""

from __future__ import annotations

import heapq
import json
import random
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

GRACE_S = 5.0
RECV_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Plan:
    host: str
    port: int
    head: str
    """What each request says of itself, in HTTP, with its line ends."""
    clients: tuple[tuple[str, ...], ...]
    """The paths that each asks for."""
    every_s: float = 1.0
    rounds: int = 15
    seed: int = 1


@dataclass(slots=True)
class Seen:
    due: int = 0
    waits: list[float] = field(default_factory=list)
    """Seconds of each poll that was answered."""
    refused: int = 0
    """Answers that were not 200."""
    cpu_s: float = 0.0
    """Of the poller itself."""


class Client:
    """One connection, one request at a time: what is due meanwhile waits its turn."""

    def __init__(self, plan: Plan, selector: selectors.BaseSelector, seen: Seen) -> None:
        self._plan, self._selector, self._seen = plan, selector, seen
        self._due: deque[tuple[float, str]] = deque()
        self._socket: socket.socket | None = None
        self._data = b""

    def poll(self, at: float, path: str) -> None:
        self._due.append((at, path))
        if len(self._due) == 1:
            self._send()

    def _send(self) -> None:
        if self._socket is None:
            self._socket = socket.create_connection((self._plan.host, self._plan.port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(self._socket, selectors.EVENT_READ, self)
        self._socket.sendall(f"GET {self._due[0][1]} HTTP/1.1\r\n{self._plan.head}\r\n".encode())

    def receive(self) -> None:
        assert self._socket is not None
        self._data += self._socket.recv(RECV_BYTES)
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._data = b""
        self._seen.waits.append(time.perf_counter() - self._due.popleft()[0])
        self._seen.refused += head[9:12] != b"200"
        if b"\r\nconnection: close" in head.lower():  # after so many requests servers want a new one
            self.close()
        if self._due:
            self._send()

    def close(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])


def polls(plan: Plan) -> Iterator[tuple[float, int, str]]:
    """(when from the start, whose, which), by time."""
    rng = random.Random(plan.seed)
    paths = [(number, path) for number, own in enumerate(plan.clients) for path in own]
    moments = sorted((rng.random() * plan.every_s, *one) for one in paths)
    return heapq.merge(*[[(at + turn * plan.every_s, who, path) for at, who, path in moments] for turn in range(plan.rounds)])


def run(plan: Plan) -> Seen:
    seen, selector = Seen(), selectors.DefaultSelector()
    clients = [Client(plan, selector, seen) for _ in plan.clients]
    started = time.perf_counter() + 0.1
    for moment, who, path in polls(plan):
        _receive(selector, started + moment)
        clients[who].poll(started + moment, path)
        seen.due += 1
    while len(seen.waits) < seen.due and time.perf_counter() < started + plan.rounds * plan.every_s + GRACE_S:
        _receive(selector, time.perf_counter() + 0.1)
    seen.cpu_s = time.process_time()
    return seen


def _receive(selector: selectors.BaseSelector, until: float) -> None:
    """What comes before that moment, and what is there."""
    while True:
        ready = selector.select(max(0.0, until - time.perf_counter()))
        for key, _ in ready:
            key.data.receive()
        if time.perf_counter() >= until:
            return


def poll_apart(plan: Plan) -> Seen:
    """Run a plan in a process of its own."""
    given = json.dumps(asdict(plan))
    done = subprocess.run([sys.executable, "-m", "tests.bench.poller"], input=given, capture_output=True, text=True, check=True)
    return Seen(**json.loads(done.stdout))


if __name__ == "__main__":
    told = json.load(sys.stdin)
    json.dump(asdict(run(Plan(**told))), sys.stdout)
