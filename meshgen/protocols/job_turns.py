"""Whose turn it is in a job, what each side may say then, and what the two sides tell their shells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from meshgen.protocols.codec import Malformed
from meshgen.protocols.job import (
    CHUNK_BYTES,
    Accepted,
    BillMessage,
    Chunk,
    Done,
    Failed,
    Piece,
    Preview,
    Progress,
    ResultStart,
    Settled,
    Stop,
    VoucherMessage,
)
from meshgen.protocols.offer import Refusal
from meshgen.protocols.record import Record, decode_any, peek_tag


class OutOfTurn(RuntimeError):
    """This side's own shell asked for a message that must not be sent now: a bug here, not the peer's fault."""


class Turn(Enum):
    AWARDED = "waiting for the worker's yes or no"
    FEEDING = "the order's pictures are under way"
    DRAWING = "the worker works"
    SENDING = "a result's chunks are under way"
    BILLING = "a result is whole, its bill must follow"
    PAYING = "the requester's voucher must follow"
    ENDED = "done, failed, refused or broken off"


FROM_WORKER: dict[Turn, tuple[type[Record], ...]] = {
    Turn.AWARDED: (Accepted,),  # or a signed Refusal
    Turn.FEEDING: (Progress, Failed),
    Turn.DRAWING: (Progress, Preview, Piece, ResultStart, Done, Failed),
    Turn.SENDING: (Chunk, Progress, Preview, Piece, Failed),
    Turn.BILLING: (BillMessage, Progress, Preview, Piece, Failed),
    Turn.PAYING: (Progress, Preview, Piece, Failed),
    Turn.ENDED: (),
}
"""What the worker may say in each turn: the machine's table, the same for both sides."""

FROM_REQUESTER: tuple[type[Record], ...] = (VoucherMessage, Stop, Settled)
"""Judged by what is owed rather than by turn, for they may cross the worker's Failed on their way. Chunks have their turn."""


@dataclass(frozen=True, slots=True)
class ResultArrived:
    """A whole result with a good bill. ``mkudos`` is owed in all by now; a voucher for it is due."""

    index: int
    seed: int
    data: bytes = field(repr=False)
    compute_ms: int
    mkudos: int


@dataclass(frozen=True, slots=True)
class Paid:
    """The requester's voucher for all pictures so far."""

    mkudos: int


@dataclass(frozen=True, slots=True)
class Fed:
    """All pictures of the order, in its order."""

    inputs: tuple[bytes, ...] = field(repr=False)


RequesterEvent = Accepted | Refusal | Progress | Preview | Piece | ResultArrived | Done | Failed
WorkerEvent = Paid | Stop | Settled | Fed


def chunks(data: bytes) -> Iterator[bytes]:
    return (Chunk(data[at : at + CHUNK_BYTES]).encode() for at in range(0, len(data), CHUNK_BYTES))


def filled(held: bytearray, data: bytes, size: int) -> bool:
    """Add a chunk to what is held of ``size`` bytes; was it the last? Raises Malformed unless it is full, or the rest."""
    due = min(CHUNK_BYTES, size - len(held))
    if len(data) != due:
        raise Malformed(f"{Chunk.TAG}.data: {len(data)} bytes where {due} belong")
    held += data
    return len(held) == size


def decode_in_turn(data: bytes, kinds: tuple[type[Record], ...], turn: Turn) -> Record:
    if peek_tag(data) not in {kind.TAG for kind in kinds}:
        raise Malformed(f"a message that has no place here: {turn.value}")
    return decode_any(data, kinds)
