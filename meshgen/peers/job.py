"""A job as its requester keeps it and the gateway shows it: what became of a person's request."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import trio

from meshgen.peers.request import Request

State = Literal["offering", "running", "done", "failed", "cancelled"]
FINAL: frozenset[State] = frozenset(("done", "failed", "cancelled"))
PASSING = frozenset(("progress", "preview", "piece"))
"""Events that are not kept for who follows later."""
EVENT_BACKLOG = 1024
"""Events a follower may lag behind before the oldest are dropped; the final state can always be read from the job."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One result: a picture, a text, or what a form found."""

    index: int
    seed: int
    worker: str  # peer id
    worker_alias: str
    data: bytes = field(repr=False)  # a picture with its metadata
    media: str
    mkudos: int
    receipt: str  # hex id of the RECEIPT entry
    seconds: float  # compute, as the worker says


@dataclass(frozen=True, slots=True)
class JobEvent:
    """``kind``: state, note, part, progress, preview, piece, arrived, result, end. ``data`` is JSON-ready and
    never holds the prompt."""

    seq: int
    kind: str
    data: dict[str, Any]


@dataclass(slots=True)
class Part:
    """The pictures that one worker was awarded."""

    worker: str
    worker_alias: str
    indices: tuple[int, ...]
    mkudos: int  # for one picture
    state: Literal["awarded", "running", "done", "lost"] = "awarded"
    why: str = ""
    ahead_ms: int = 0
    """From the award until the worker's device was to be free for it, as its bid said..."""
    due_ms: int = 0
    """...and when all should be there, by the clock. 0 = nothing is known."""
    awarded_ms: int = 0


@dataclass(slots=True)
class Job:
    """Live state of one request. Only the requester changes it."""

    id: str
    request: Request = field(repr=False)
    created_ms: int
    state: State = "offering"
    model: str = ""
    width: int = 0
    height: int = 0
    seed: int = 0
    parts: list[Part] = field(default_factory=list)
    results: dict[int, Finished] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    drawn: dict[int, float] = field(default_factory=dict)
    """How much of each result is done, as far as it was told: from 0 to 1."""
    error: str = ""
    finished_ms: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope, repr=False)
    _events: list[JobEvent] = field(default_factory=list, repr=False)
    _followers: set[trio.MemorySendChannel[JobEvent]] = field(default_factory=set, repr=False)
    _seq: int = 0
    _finished: trio.Event = field(default_factory=trio.Event, repr=False)

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def mkudos(self) -> int:
        return sum(one.mkudos for one in self.results.values())

    @property
    def size(self) -> int:
        """Bytes of its results."""
        return sum(len(one.data) for one in self.results.values())

    @property
    def progress(self) -> float:
        """Of all its results: from 0 to 1."""
        done = [1.0 if index in self.results else self.drawn.get(index, 0.0) for index in range(self.request.count)]
        return sum(done) / max(len(done), 1)

    def cancel(self) -> None:
        """Ask the requester to stop; what already arrived stays and is paid."""
        self.scope.cancel()

    async def wait(self) -> None:
        await self._finished.wait()

    def emit(self, kind: str, **data: Any) -> None:
        self._seq += 1
        event = JobEvent(self._seq, kind, data)
        if kind not in PASSING:
            self._events.append(event)
        if kind == "progress":
            self.drawn[data["index"]] = data["step"] / max(data["steps"], 1)
        for follower in list(self._followers):
            try:
                follower.send_nowait(event)
            except trio.WouldBlock:
                if kind not in PASSING:  # these it may miss; anything else ends a follower that sleeps
                    follower.close()
                    self._followers.discard(follower)

    def enter(self, state: State, error: str = "") -> None:
        self.state, self.error = state, error
        self.emit("state", state=state, error=error)
        if self.final:
            self.emit("end", state=state, error=error, results=len(self.results), mkudos=self.mkudos)
            self._finished.set()
            for follower in self._followers:
                follower.close()
            self._followers.clear()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.emit("note", text=text)

    @asynccontextmanager
    async def follow(self, after: int = 0) -> AsyncIterator[trio.MemoryReceiveChannel[JobEvent]]:
        """Events after ``after``: the kept ones first, then live ones until the job ends. Progress is never replayed."""
        send, receive = trio.open_memory_channel[JobEvent](EVENT_BACKLOG if not self.final else math.inf)
        for event in self._events[-EVENT_BACKLOG:]:
            if event.seq > after:
                send.send_nowait(event)
        if self.final:
            send.close()
        else:
            self._followers.add(send)
        try:
            with receive:
                yield receive
        finally:
            self._followers.discard(send)
            send.close()
