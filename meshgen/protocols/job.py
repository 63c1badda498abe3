"""How the work is done: on one channel, opened by the requester with a signed award.

::

    requester                                   worker
      Award (signed, sealed work)  ------------>
                                   <------------  Accepted | Refusal (signed)
      Chunk*                       ------------>                               the order's inputs, one after the other
                                   <------------  Progress*, Preview*, Piece*
                                   <------------  ResultStart, Chunk*, Bill     result i: a picture, a text, what a form found
      Voucher (cumulative)         ------------>                               before result i+1 is sent
                                        ...
                                   <------------  Done | Failed
      Settled (the RECEIPT)        ------------>

Either side may leave at any time. The worker then holds a voucher for all but one result at most; the requester owes nothing for
what did not arrive. Stopping early is :class:`Stop` from the requester.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from meshgen.protocols.codec import Limits, Malformed
from meshgen.protocols.offer import MAX_COUNT, MAX_TOKENS
from meshgen.protocols.record import Bin, Hash, Record, Text, UInt

PROTOCOL = "/meshgen/job/1"
CHUNK_BYTES = 256 * 1024
MAX_RESULT_BYTES = 64 * 1024 * 1024
MAX_RESULT_PIXELS = 22_000_000
"""A PNG of so many fits into a result, whatever it shows: it takes three bytes for each, and a thousandth more."""
MAX_PIECE_BYTES = 4096
MAX_PREVIEW_BYTES = 64 * 1024
FAILURES = (
    "unknown_model",
    "unsupported",
    "out_of_memory",
    "crashed",
    "bad_model",
    "bad_input",
    "busy",
    "stopped",
    "withdrawn",
    "unpaid",
)

_SMALL = Limits(max_bytes=1024, max_depth=1)


@dataclass(frozen=True, slots=True)
class Accepted(Record):
    TAG = "accepted/1"
    LIMITS = _SMALL
    hold_id: Hash


@dataclass(frozen=True, slots=True)
class Progress(Record):
    TAG = "progress/1"
    LIMITS = _SMALL
    index: Annotated[int, UInt(0, MAX_COUNT - 1)]
    step: Annotated[int, UInt(0, MAX_TOKENS)]
    """Of a text: tokens."""
    steps: Annotated[int, UInt(1, MAX_TOKENS)]

    def check(self) -> None:
        if self.step > self.steps:
            raise Malformed(f"{self.TAG}.step: {self.step} of {self.steps}")


@dataclass(frozen=True, slots=True)
class Preview(Record):
    TAG = "preview/1"
    LIMITS = Limits(max_bytes=MAX_PREVIEW_BYTES + 64, max_depth=1)
    index: Annotated[int, UInt(0, MAX_COUNT - 1)]
    step: Annotated[int, UInt(0, MAX_TOKENS)]
    jpeg: Annotated[bytes, Bin(1, MAX_PREVIEW_BYTES)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Piece(Record):
    """What has been added to a text. The result counts; this lets people read along."""

    TAG = "piece/1"
    LIMITS = Limits(max_bytes=MAX_PIECE_BYTES + 64, max_depth=1, max_text=MAX_PIECE_BYTES, ascii_only=False)
    index: Annotated[int, UInt(0, MAX_COUNT - 1)]
    text: Annotated[str, Text(MAX_PIECE_BYTES, low=1, ascii_only=False)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResultStart(Record):
    """A result follows in ``ceil(size / CHUNK_BYTES)`` chunks. ``salt`` opens the bill's commitment to it."""

    TAG = "result/1"
    LIMITS = _SMALL
    index: Annotated[int, UInt(0, MAX_COUNT - 1)]
    seed: Annotated[int, UInt()]
    size: Annotated[int, UInt(0, MAX_RESULT_BYTES)]
    """0 for an empty text alone: no chunk follows."""
    sha256: Hash
    salt: Annotated[bytes, Bin(16)]
    compute_ms: Annotated[int, UInt(0, 2**40)]


@dataclass(frozen=True, slots=True)
class Chunk(Record):
    TAG = "chunk/1"
    LIMITS = Limits(max_bytes=CHUNK_BYTES + 64, max_depth=1)
    data: Annotated[bytes, Bin(1, CHUNK_BYTES)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class BillMessage(Record):
    """A credit bill (:mod:`meshgen.protocols.credit`) for all results up to and with this one."""

    TAG = "bill/1"
    LIMITS = _SMALL
    bill: Annotated[bytes, Bin(1, 512)]


@dataclass(frozen=True, slots=True)
class VoucherMessage(Record):
    TAG = "voucher/1"
    LIMITS = _SMALL
    voucher: Annotated[bytes, Bin(1, 512)]


@dataclass(frozen=True, slots=True)
class Done(Record):
    TAG = "done/1"
    LIMITS = _SMALL
    results: Annotated[int, UInt(0, MAX_COUNT)]


@dataclass(frozen=True, slots=True)
class Failed(Record):
    TAG = "failed/1"
    LIMITS = _SMALL
    reason: Annotated[str, Text(24, choices=FAILURES)]


@dataclass(frozen=True, slots=True)
class Settled(Record):
    """The requester's RECEIPT, as the wire entry that is now in its chain."""

    TAG = "settled/1"
    LIMITS = Limits(max_bytes=2048, max_depth=1)
    entry: Annotated[bytes, Bin(1, 1536)]


@dataclass(frozen=True, slots=True)
class Stop(Record):
    TAG = "stop/1"
    LIMITS = _SMALL


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {
    "accepted": Accepted.decode,
    "progress": Progress.decode,
    "preview": Preview.decode,
    "piece": Piece.decode,
    "result": ResultStart.decode,
    "chunk": Chunk.decode,
    "bill": BillMessage.decode,
    "voucher": VoucherMessage.decode,
    "done": Done.decode,
    "failed": Failed.decode,
    "settled": Settled.decode,
    "stop": Stop.decode,
}
