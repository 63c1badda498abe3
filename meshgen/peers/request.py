"""A person's request and what became of it: the view of a job that the requester keeps and the gateway shows."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import trio

State = Literal["offering", "running", "done", "failed", "cancelled"]
FINAL: frozenset[State] = frozenset(("done", "failed", "cancelled"))
EVENT_BACKLOG = 1024
"""Events a follower may lag behind before the oldest are dropped; the final state can always be read from the job."""


class RequestError(ValueError):
    """The request can't be made; ``field`` is what is wrong with it."""

    def __init__(self, code: str, message: str, where: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = where


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What a person asks for. Sides in pixels. ``seed`` None draws one; picture i of the request gets seed + i."""

    prompt: str = field(repr=False)
    negative_prompt: str = field(default="", repr=False)
    model: str = ""  # "" = the model that most workers offer
    width: int = 0  # 0 = the model's own default
    height: int = 0
    steps: int = 20
    guidance_scale: float = 5.0
    scheduler: str = ""
    seed: int | None = None
    count: int = 1
    max_mkudos: int | None = None  # for one picture; None = what the settings allow
    preview_every: int = 0
    private: bool = False  # leaves the prompt out of the picture's metadata
    shared: bool | None = None  # lets the pictures be shared, for less; None = as the settings say
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class FinishedPicture:
    index: int
    seed: int
    worker: str  # peer id
    worker_alias: str
    png: bytes = field(repr=False)  # with metadata
    mkudos: int
    receipt: str  # hex id of the RECEIPT entry
    seconds: float  # compute, as the worker says


@dataclass(frozen=True, slots=True)
class JobEvent:
    """``kind``: state, note, part, progress, preview, picture, end. ``data`` is JSON-ready and never holds the prompt."""

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


@dataclass(slots=True)
class Job:
    """Live state of one request. Only the requester changes it."""

    id: str
    request: ImageRequest = field(repr=False)
    created_ms: int
    state: State = "offering"
    model: str = ""
    width: int = 0
    height: int = 0
    seed: int = 0
    parts: list[Part] = field(default_factory=list)
    pictures: dict[int, FinishedPicture] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
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
        return sum(picture.mkudos for picture in self.pictures.values())

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        return sum(len(picture.png) for picture in self.pictures.values())

    def cancel(self) -> None:
        """Ask the requester to stop; pictures that already arrived stay and are paid."""
        self.scope.cancel()

    async def wait(self) -> None:
        await self._finished.wait()

    def emit(self, kind: str, **data: Any) -> None:
        self._seq += 1
        event = JobEvent(self._seq, kind, data)
        if kind not in ("progress", "preview"):
            self._events.append(event)
        for follower in list(self._followers):
            try:
                follower.send_nowait(event)
            except trio.WouldBlock:
                if kind not in ("progress", "preview"):  # these it may miss; anything else ends a follower that sleeps
                    follower.close()
                    self._followers.discard(follower)

    def enter(self, state: State, error: str = "") -> None:
        self.state, self.error = state, error
        self.emit("state", state=state, error=error)
        if self.final:
            self.emit("end", state=state, error=error, pictures=len(self.pictures), mkudos=self.mkudos)
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
