"""How the work is done: on one channel, opened by the requester with a signed award.

::

    requester                                   worker
      Award (signed, sealed work)  ------------>
                                   <------------  Accepted | Refusal (signed)
                                   <------------  Progress*, Preview*
                                   <------------  ImageStart, Chunk*, Bill      picture i
      Voucher (cumulative)         ------------>                               before picture i+1 is sent
                                        ...
                                   <------------  Done | Failed
      Settled (the RECEIPT)        ------------>

Either side may leave at any time. The worker then holds a voucher for all but one picture at most; the requester owes nothing for
what did not arrive. Stopping early is :class:`Stop` from the requester.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from meshgen.protocols.codec import Limits, Malformed
from meshgen.protocols.offer import MAX_COUNT, MAX_SIDE, MAX_STEPS
from meshgen.protocols.record import Array, Bin, Hash, Record, Text, UInt

PROTOCOL = "/meshgen/job/1"
CHUNK_BYTES = 256 * 1024
MAX_IMAGE_BYTES = 64 * 1024 * 1024
MAX_PROMPT_BYTES = 16 * 1024
MAX_PREVIEW_BYTES = 64 * 1024
FAILURES = ("unknown_model", "unsupported", "out_of_memory", "crashed", "bad_model", "bad_input", "busy", "stopped", "unpaid")

_SMALL = Limits(max_bytes=1024, max_depth=1)


@dataclass(frozen=True, slots=True)
class WorkOrder(Record):
    """The work itself; it crosses the net only sealed to the worker. Its repr shows no prompt."""

    TAG = "work/1"
    LIMITS = Limits(max_bytes=60 * 1024, max_items=MAX_COUNT, max_depth=2, max_text=MAX_PROMPT_BYTES, ascii_only=False)
    offer_id: Hash
    """Ties the sealed bytes to one offer: a replay under another one is refused."""
    prompt: Annotated[str, Text(MAX_PROMPT_BYTES, ascii_only=False)]
    negative_prompt: Annotated[str, Text(MAX_PROMPT_BYTES, ascii_only=False)]
    model: Annotated[str, Text(64, low=1)]
    digest: Hash
    width: Annotated[int, UInt(8, MAX_SIDE)]
    height: Annotated[int, UInt(8, MAX_SIDE)]
    steps: Annotated[int, UInt(1, MAX_STEPS)]
    guidance_milli: Annotated[int, UInt(0, 100_000)]
    """guidance_scale x 1000."""
    scheduler: Annotated[str, Text(48)]
    seeds: Annotated[tuple[int, ...], Array(UInt(), MAX_COUNT, low=1)]
    preview_every: Annotated[int, UInt(0, MAX_STEPS)]

    def __repr__(self) -> str:
        return f"WorkOrder({self.model} {self.width}x{self.height} x{len(self.seeds)}, prompts withheld)"


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
    step: Annotated[int, UInt(0, MAX_STEPS)]
    steps: Annotated[int, UInt(1, MAX_STEPS)]

    def check(self) -> None:
        if self.step > self.steps:
            raise Malformed(f"{self.TAG}.step: {self.step} of {self.steps}")


@dataclass(frozen=True, slots=True)
class Preview(Record):
    TAG = "preview/1"
    LIMITS = Limits(max_bytes=MAX_PREVIEW_BYTES + 64, max_depth=1)
    index: Annotated[int, UInt(0, MAX_COUNT - 1)]
    step: Annotated[int, UInt(0, MAX_STEPS)]
    jpeg: Annotated[bytes, Bin(1, MAX_PREVIEW_BYTES)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImageStart(Record):
    """A picture follows in ``ceil(size / CHUNK_BYTES)`` chunks. ``salt`` opens the bill's commitment to it."""

    TAG = "image/1"
    LIMITS = _SMALL
    index: Annotated[int, UInt(0, MAX_COUNT - 1)]
    seed: Annotated[int, UInt()]
    size: Annotated[int, UInt(1, MAX_IMAGE_BYTES)]
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
    """A credit bill (:mod:`meshgen.protocols.credit`) for all pictures up to and with this one."""

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
    pictures: Annotated[int, UInt(0, MAX_COUNT)]


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
    "work": WorkOrder.decode,
    "accepted": Accepted.decode,
    "progress": Progress.decode,
    "preview": Preview.decode,
    "image": ImageStart.decode,
    "chunk": Chunk.decode,
    "bill": BillMessage.decode,
    "voucher": VoucherMessage.decode,
    "done": Done.decode,
    "failed": Failed.decode,
    "settled": Settled.decode,
    "stop": Stop.decode,
}
