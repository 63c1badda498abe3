"""Workers that were made for AI Horde, as one engine of the node's: jobs wait here until one of them asks for one."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

import trio

from meshgen.engine.bridge.crew import LIVE_S, Crew, Member
from meshgen.engine.bridge.line import Job, Line, NoPiece, Piece, Worker
from meshgen.engine.bridge.pace import Pace, units, units_of
from meshgen.engine.bridge.payload import has_holes, payload_of
from meshgen.engine.bridge.popper import Kind, Popper
from meshgen.engine.bridge.results import Unusable, checked
from meshgen.engine.port import (
    AdapterInfo,
    Answer,
    AnyWork,
    DeviceInfo,
    Engine,
    EngineError,
    EngineEvent,
    FormWork,
    ModelInfo,
    Picture,
    Progress,
    Room,
    TextWork,
    Work,
)
from meshgen.engine.several import Several

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""Who went away is noticed within so long."""
TTL_S, LATENESS = 60.0, 4.0
"""A worker has so long for a job, and so many times what it should take."""
AHEAD = 4
"""Jobs that a worker may hold beyond those that it computes."""
MAX_DECODING = 2


@dataclass(frozen=True, slots=True)
class Handout:
    """What a worker gets: nothing, or results that are wanted, of one job unless they are forms. ``skipped``: how many wait that
    it can't have, by why. ``rests``: it gets none for a while, because it lost too many."""

    pieces: tuple[Piece, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    ttl_s: int = 0
    rests: bool = False


@dataclass(frozen=True, slots=True)
class HandIn:
    """What a worker brings. ``data``: an encoded picture, a text in UTF-8, or a form's findings as JSON; None: what was uploaded.
    ``why``: what it says of how it went."""

    state: Literal["ok", "censored", "faulted", "csam"] = "ok"
    data: bytes | None = field(default=None, repr=False)
    why: str = ""


class Bridge:
    """Implements :class:`meshgen.engine.port.Engine`. ``worth`` is what a result earns, in mkudos; ``on_change`` is called when
    the workers or what they can do have changed."""

    def __init__(self, worth: Callable[[AnyWork], int] = lambda _: 0) -> None:
        self.worth = worth
        self.on_change: list[Callable[[], None]] = []
        self._line = Line()
        self._crew = Crew(_now, lambda worker: bool(self._line.held_by(worker)))
        self._pace = Pace()
        self._decoding = trio.CapacityLimiter(MAX_DECODING)
        self._models: list[ModelInfo] = []
        self._adapters: list[AdapterInfo] = []
        self._room = Room(1)

    # -- as an engine

    def device(self) -> DeviceInfo:
        agents = [member.popper.agent.partition(":http")[0] for member in self._crew.live()]
        return DeviceInfo("bridge", agents[0] if agents else "no worker yet", 0, 0)

    def models(self) -> list[ModelInfo]:
        return self._models

    def adapters(self) -> list[AdapterInfo]:
        return self._adapters

    def free_slots(self) -> int:
        return max(0, self._room.working - self._line.out())

    def room(self) -> Room:
        return self._room

    def company(self, work: AnyWork) -> tuple[Hashable | None, int]:  # noqa: ARG002
        return None, 1

    def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:
        workers = [member.worker for member in self._crew.with_model(work_model)]
        kind: Kind = workers[0][0] if workers else "image"
        amount = 1.0 if kind == "alchemy" else units(width, height, steps)
        return self._pace.seconds(kind, workers, work_model, amount * count)

    def estimate_error(self) -> float | None:
        return self._pace.error()

    def most_tokens(self, model: str) -> int | None:
        """Of a text, as far as any worker goes."""
        poppers = [member.popper for member in self._crew.with_model(model)]
        return max((popper.max_tokens for popper in poppers if popper.kind == "text"), default=None)

    def is_declined(self, model: str, prompt: str) -> bool:
        """By the word lists of all who have that model."""
        poppers = [member.popper for member in self._crew.with_model(model)]
        return bool(poppers) and all(popper.is_blacklisted(prompt) for popper in poppers)

    def declines_nsfw(self, model: str) -> bool:
        """Do all who have that model? An alchemist does not say."""
        poppers = [member.popper for member in self._crew.with_model(model)]
        return bool(poppers) and not any(popper.nsfw or popper.kind == "alchemy" for popper in poppers)

    @asynccontextmanager
    async def run(self, work: AnyWork) -> AsyncGenerator[AsyncIterator[EngineEvent]]:
        if not self._crew.with_model(_model_of(work)):
            raise EngineError("unknown_model", f"no bridged worker offers {_model_of(work)!r} now")
        job = Job(work, payload_of(work))
        try:
            yield self._events(job)
        finally:
            self._line.drop(job)

    async def _events(self, job: Job) -> AsyncIterator[EngineEvent]:
        if isinstance(job.work, Work) and job.work.source and not job.work.mask:
            job.holes = await trio.to_thread.run_sync(has_holes, job.work.source, limiter=self._decoding)
        self._line.add(job)
        while job.missing:
            self._look_after(job)
            event: EngineEvent | EngineError | None = None
            with trio.move_on_after(LOOK_S):
                event = await job.hear.receive()
            if isinstance(event, EngineError):
                raise event
            if event is not None:
                job.missing -= isinstance(event, Picture | Answer)
                yield event

    def _look_after(self, job: Job) -> None:
        """Take back what a worker holds too long; give up when nobody is left who could do it. Raises EngineError."""
        for piece in self._line.late(_now()):
            self._lose(piece, "took too long")
        if any(piece.job is job for piece in self._line.waiting()) and not any(self._crew.able(job.work, job.holes)):
            if any(member.popper.skips(job.work, job.holes) != "models" for member in self._crew.live()):
                raise EngineError("unsupported", "the bridged workers that have this model can't do this with it")
            raise EngineError("crashed", "the bridged worker that offered this went away")

    # -- for the workers

    def pop(self, popper: Popper) -> Handout:
        """A worker asks for something to do."""
        known = self._crew.member((popper.kind, popper.name))
        fresh = known is None or known.popper != popper or known.seen_s + LIVE_S <= _now()
        member = self._crew.seen(popper)
        if fresh:
            self.refresh()
        if self._crew.rests(member):
            return Handout(rests=True)
        pieces, skipped = self._line.take(popper, self._most(member), self._shunned(member.worker))
        ttl_s = self._hand_out(pieces, member.worker)
        return Handout(tuple(pieces), dict(skipped), ttl_s)

    def source(self, piece_id: str) -> bytes:
        """The picture that a form is about. Raises NoPiece."""
        work = self._line.piece(piece_id).job.work
        if not isinstance(work, FormWork):
            raise NoPiece("unknown")
        return work.source

    def upload(self, piece_id: str, data: bytes) -> None:
        """The result of what is handed out, before it is handed in; the last one counts. Raises NoPiece."""
        self._line.piece(piece_id).upload = data

    async def submit(self, piece_id: str, brought: HandIn) -> int:
        """What it earns, in mkudos. Raises NoPiece, or Unusable: then the job goes to another worker."""
        piece = self._line.piece(piece_id)
        if brought.state != "ok":
            self._failed(piece, brought)
            return 0
        data = piece.upload if brought.data is None else brought.data
        result, media = await self._checked(piece, data)
        if piece.job.over:
            raise NoPiece("aborted")
        self._deliver(piece, result, media)
        earned = self.worth(piece.job.work)
        self._crew.brought(piece.worker, earned)
        return earned

    def workers(self) -> list[dict[str, Any]]:
        """Those that are there, fit for JSON: for people."""
        return [self._row(member) for member in self._crew.live()]

    async def watch(self) -> None:
        """Notice who went away, until cancelled."""
        while True:
            await trio.sleep(LOOK_S)
            self.refresh()

    def refresh(self) -> None:
        """Say so if what the workers can do together has changed."""
        found = self._crew.models(), self._crew.adapters(), self._crew.room()
        if found != (self._models, self._adapters, self._room):
            self._models, self._adapters, self._room = found
            for tell in self.on_change:
                tell()

    # -- inside

    def _most(self, member: Member) -> int:
        popper = member.popper
        room = (popper.threads + AHEAD) * popper.amount - self._line.held_by(member.worker)
        return max(0, min(popper.amount, room))

    def _shunned(self, worker: Worker) -> set[Piece]:
        """What this worker lost before and another one could do."""
        lost = [piece for piece in self._line.waiting() if piece.lost_by == worker]
        return {
            piece for piece in lost if any(able.worker != worker for able in self._crew.able(piece.job.work, piece.job.holes))
        }

    def _hand_out(self, pieces: list[Piece], worker: Worker) -> int:
        """The seconds that it has for them."""
        estimated_s = sum(self._estimate(piece, worker) for piece in pieces)
        ttl_s = ceil(TTL_S + LATENESS * estimated_s)
        for piece in pieces:
            piece.worker, piece.since_s, piece.due_s, piece.shared = worker, _now(), _now() + ttl_s, len(pieces)
            piece.job.tell.send_nowait(Progress(piece.index, 0, _steps_of(piece.job.work)))
        return ttl_s

    def _estimate(self, piece: Piece, worker: Worker) -> float:
        return self._pace.seconds(_kind_of(piece.job.work), [worker], _model_of(piece.job.work), units_of(piece.job.work))

    async def _checked(self, piece: Piece, data: bytes) -> tuple[bytes, str]:
        """Raises Unusable."""
        self._line.close(piece, "duplicate")  # nobody else may hand it in while it is looked at
        lost = "hung up"
        try:
            result = await trio.to_thread.run_sync(checked, piece.job.work, data, limiter=self._decoding)
            lost = ""
            return result
        except Unusable:
            lost = "handed in something unusable"
            raise
        finally:
            if lost:
                self._lose(piece, lost)

    def _deliver(self, piece: Piece, data: bytes, media: str) -> None:
        work, seconds = piece.job.work, (_now() - piece.since_s) / piece.shared
        if member := self._crew.member(piece.worker):
            self._pace.measured(member.worker, _model_of(work), units_of(work), seconds, self._estimate(piece, member.worker))
            if member.popper.threads == 1:
                self._line.turn_of(member.worker, piece, _now())
        if media == "image/png" and not isinstance(work, FormWork):
            piece.job.tell.send_nowait(Picture(piece.index, piece.seed, data, seconds))
        else:
            piece.job.tell.send_nowait(Answer(piece.index, piece.seed, data, media, seconds))

    def _failed(self, piece: Piece, brought: HandIn) -> None:
        """Its worker says so itself. What its filter withheld, another one's would too."""
        if brought.state == "faulted":
            self._lose(piece, f"failed ({brought.why})" if brought.why else "failed")
            return
        self._line.close(piece, "duplicate")
        piece.job.tell.send_nowait(EngineError("unsupported", "the bridged worker's filter withheld the result"))

    def _lose(self, piece: Piece, how: str) -> None:
        """Another try, or the end of the job."""
        log.info("a bridged worker (%a) %s", "/".join(piece.worker or ("?",)), how)  # its name may hold line ends
        self._crew.lost(piece.worker)
        if not self._line.give_back(piece):
            piece.job.tell.send_nowait(EngineError("crashed", f"bridged workers tried it in vain: the last one {how}"))

    def _row(self, member: Member) -> dict[str, Any]:
        popper = member.popper
        speeds = [self._pace.speed(member.worker, model) for model in popper.models]
        return {
            "name": popper.name,
            "kind": popper.kind,
            "agent": popper.agent,
            "models": list(popper.models),
            "threads": popper.threads,
            "max_pixels": popper.max_pixels,
            "max_tokens": popper.max_tokens,
            "max_context": popper.max_context,
            "allows": sorted(popper.allows),
            "nsfw": popper.nsfw,
            "done": member.done,
            "mkudos": member.mkudos,
            "held": self._line.held_by(member.worker),
            "speed": max(speeds, default=0.0),
            "seen_s": round(_now() - member.seen_s, 1),
        }


def bridge_of(engine: Engine) -> Bridge | None:
    engines = engine.engines.values() if isinstance(engine, Several) else (engine,)
    return next((one for one in engines if isinstance(one, Bridge)), None)


def _now() -> float:
    return trio.current_time()


def _model_of(work: AnyWork) -> str:
    return work.form if isinstance(work, FormWork) else work.model


def _kind_of(work: AnyWork) -> Kind:
    return "image" if isinstance(work, Work) else "text" if isinstance(work, TextWork) else "alchemy"


def _steps_of(work: AnyWork) -> int:
    return work.steps if isinstance(work, Work) else work.max_tokens if isinstance(work, TextWork) else 1
