"""Jobs for the workers: those that wait, those that are handed out, and for a while the ids of those that are over."""

from __future__ import annotations

import uuid
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

import trio

from meshgen.engine.bridge.popper import Kind, Popper
from meshgen.engine.port import AnyWork, EngineError, EngineEvent, TextWork, Work

MAX_OVER = 4096
"""Ids that are remembered: whoever hands in late learns why it is too late."""
TRIES = 2
Worker = tuple[Kind, str]
"""(kind, name)."""
Over = Literal["duplicate", "aborted"]


class NoPiece(Exception):
    """Nothing is to be handed in under this id: it is unknown, was handed in before (duplicate), or is not wanted any more."""

    def __init__(self, why: Literal["unknown", "duplicate", "aborted"]) -> None:
        super().__init__(why)
        self.why = why


@dataclass(eq=False, slots=True)
class Job:
    """``payload`` is what its work is in AI Horde's words. What happens goes to ``tell`` and is read from ``hear``."""

    work: AnyWork
    payload: dict[str, Any] = field(repr=False)
    holes: bool = False
    missing: int = 0
    over: bool = False
    """Nobody waits for it any more."""
    tell: trio.MemorySendChannel[EngineEvent | EngineError] = field(init=False, repr=False)
    hear: trio.MemoryReceiveChannel[EngineEvent | EngineError] = field(init=False, repr=False)
    pieces: list[Piece] = field(init=False)

    def __post_init__(self) -> None:
        self.tell, self.hear = trio.open_memory_channel[EngineEvent | EngineError](inf)
        seeds = self.work.seeds if isinstance(self.work, Work | TextWork) else (0,)
        self.pieces = [Piece(self, index, seed) for index, seed in enumerate(seeds)]
        self.missing = len(self.pieces)


@dataclass(eq=False, slots=True)
class Piece:
    """One result that is wanted. Its id is new each time that it goes out."""

    job: Job
    index: int
    seed: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    worker: Worker | None = None
    """Who has it."""
    lost_by: Worker | None = None
    losses: int = 0
    since_s: float = 0.0
    """When it went out, or when its worker had done what it took before."""
    due_s: float = inf
    shared: int = 1
    """How many went out together."""
    upload: bytes = field(default=b"", repr=False)


class Line:
    """Whoever comes first goes first."""

    def __init__(self) -> None:
        self._waiting: list[Piece] = []
        self._out: dict[str, Piece] = {}
        self._over: OrderedDict[str, Over] = OrderedDict()

    def add(self, job: Job) -> None:
        self._waiting += job.pieces

    def take(self, popper: Popper, most: int, shunned: set[Piece]) -> tuple[list[Piece], Counter[str]]:
        """What this worker gets, and how many wait that it can't have, by why. Pictures and texts: of one job alone."""
        taken: list[Piece] = []
        skipped: Counter[str] = Counter()
        for piece in self._waiting:
            if why := popper.skips(piece.job.work, piece.job.holes):
                skipped[why] += 1
            elif len(taken) < most and piece not in shunned and (popper.kind == "alchemy" or _fits(piece, taken)):
                taken.append(piece)
        self._waiting = [piece for piece in self._waiting if piece not in taken]
        for piece, piece_id in zip(taken, sorted(piece.id for piece in taken), strict=True):
            piece.id = piece_id  # some sort what they get by it
            self._out[piece_id] = piece
        return taken, skipped

    def piece(self, piece_id: str) -> Piece:
        """One that is handed out. Raises NoPiece."""
        found = self._out.get(piece_id)
        if found is None:
            raise NoPiece(self._over.get(piece_id, "unknown"))
        return found

    def close(self, piece: Piece, over: Over) -> None:
        """It is handed out no more; under its id nothing can be handed in."""
        self._out.pop(piece.id, None)
        self._over[piece.id] = over
        while len(self._over) > MAX_OVER:
            self._over.popitem(last=False)

    def give_back(self, piece: Piece) -> bool:
        """Its worker lost it: if it is still wanted, it is the next that somebody gets, under a new id. False if that has
        happened too often."""
        self.close(piece, "aborted")
        piece.id, piece.lost_by, piece.worker = str(uuid.uuid4()), piece.worker, None
        piece.losses += 1
        piece.due_s, piece.upload = inf, b""
        if piece.losses >= TRIES:
            return False
        self._waiting[:0] = [] if piece.job.over else [piece]
        return True

    def drop(self, job: Job) -> None:
        job.over = True
        self._waiting = [piece for piece in self._waiting if piece.job is not job]
        for piece in job.pieces:
            if piece.id in self._out:
                self.close(piece, "aborted")

    def turn_of(self, worker: Worker, done: Piece, now_s: float) -> None:
        """A worker that does one thing after the other has done one: what else it holds begins now."""
        for piece in self._out.values():
            if piece.worker == worker and piece.due_s != done.due_s:
                piece.since_s = now_s

    def late(self, now_s: float) -> list[Piece]:
        return [piece for piece in self._out.values() if piece.due_s <= now_s]

    def waiting(self) -> list[Piece]:
        return list(self._waiting)

    def held_by(self, worker: Worker) -> int:
        return sum(piece.worker == worker for piece in self._out.values())

    def out(self) -> int:
        return len(self._out)


def _fits(piece: Piece, taken: list[Piece]) -> bool:
    return not taken or taken[0].job is piece.job
