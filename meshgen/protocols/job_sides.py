"""The two sides of one job, without I/O: one channel message in, one event out, :class:`Malformed` for every breach.

The requester's shell (``receive()`` gives None when the worker left)::

    side = RequesterSide(terms(offer, bid, award, hold, work))
    await channel.send(award.wire)
    while not side.ended:
        match side.feed(await channel.receive()):
            case PictureArrived() as picture: await channel.send(side.pay(identity))
            case Refusal() | Failed() as no: ...
            case event: ...  # Accepted, Progress, Preview, Done as they are; None: nothing to tell yet
    if side.pictures: append RECEIPT(side.receipt()) to the log; await channel.send(side.settle(entry.wire))

The worker's shell, once it has decided to do the work::

    side = WorkerSide(terms(offer, bid, award, hold, work))
    await channel.send(side.accept())
    for each picture of the engine:
        for message in side.picture(index, png, salt, compute_ms): await channel.send(message)
        await channel.send(side.bill(identity))
        side.feed(await channel.receive())  # Paid | Stop; picture() before Paid raises OutOfTurn
    await channel.send(side.done())  # or side.fail(reason); then feed() gives Settled
    # no Settled in time, and side.paid_mkudos > 0: append CLAIM(side.claim())

Others' breaches raise Malformed and end the side; what was paid stays paid. One's own mistakes raise :class:`OutOfTurn`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from enum import Enum

from meshgen.identity import Identity
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Bill, Claim, Receipt, Voucher, result_commitment
from meshgen.protocols.envelope import unsign
from meshgen.protocols.job import (
    CHUNK_BYTES,
    Accepted,
    BillMessage,
    Chunk,
    Done,
    Failed,
    ImageStart,
    Preview,
    Progress,
    Settled,
    Stop,
    VoucherMessage,
)
from meshgen.protocols.job_terms import Terms
from meshgen.protocols.offer import Refusal
from meshgen.protocols.record import Record, decode_any, peek_tag


class OutOfTurn(RuntimeError):
    """This side's own shell asked for a message that must not be sent now: a bug here, not the peer's fault."""


class Turn(Enum):
    AWARDED = "waiting for the worker's yes or no"
    DRAWING = "the worker draws"
    SENDING = "a picture's chunks are under way"
    BILLING = "a picture is whole, its bill must follow"
    PAYING = "the requester's voucher must follow"
    ENDED = "done, failed, refused or broken off"


_FROM_WORKER: dict[Turn, tuple[type[Record], ...]] = {
    Turn.AWARDED: (Accepted,),  # or a signed Refusal
    Turn.DRAWING: (Progress, Preview, ImageStart, Done, Failed),
    Turn.SENDING: (Chunk, Progress, Preview, Failed),
    Turn.BILLING: (BillMessage, Progress, Preview, Failed),
    Turn.PAYING: (Progress, Preview, Failed),
    Turn.ENDED: (),
}
"""What the worker may say in each turn: the machine's table, the same for both sides."""

_FROM_REQUESTER: tuple[type[Record], ...] = (VoucherMessage, Stop, Settled)
"""Judged by what is owed rather than by turn, for they may cross the worker's Failed on their way."""


@dataclass(frozen=True, slots=True)
class PictureArrived:
    """A whole picture with a good bill. ``mkudos`` is owed in all by now; a voucher for it is due."""

    index: int
    seed: int
    png: bytes = field(repr=False)
    compute_ms: int
    mkudos: int


@dataclass(frozen=True, slots=True)
class Paid:
    """The requester's voucher for all pictures so far."""

    mkudos: int


RequesterEvent = Accepted | Refusal | Progress | Preview | PictureArrived | Done | Failed
WorkerEvent = Paid | Stop | Settled


class _Side:
    """What both sides keep in step: whose turn it is, which pictures went over whole, what is owed and paid."""

    def __init__(self, agreed: Terms) -> None:
        self.terms = agreed
        self.turn = Turn.AWARDED
        self.pictures: list[int] = []  # indices, in the order of arrival
        self.paid_mkudos = 0
        self._commitments: list[tuple[bytes, bytes]] = []
        self._previewed = [-1] * agreed.count  # the last step shown of each picture
        self._settled = False

    @property
    def ended(self) -> bool:
        return self.turn is Turn.ENDED

    @property
    def owed_mkudos(self) -> int:
        """For everything that went over whole, paid or not."""
        return self.terms.mkudos * len(self.pictures)

    @property
    def result(self) -> bytes:
        """The commitment to the pictures so far."""
        return result_commitment(self._commitments)

    @property
    def openings(self) -> tuple[tuple[bytes, bytes], ...]:
        """(salt, SHA-256 of the file) of each picture so far: what opens that commitment."""
        return tuple(self._commitments)

    def _step(self, message: Progress | Preview) -> None:
        """Progress may repeat itself, as a sign of life; previews, which are large, only go forward."""
        index, step = message.index, message.step
        if index >= self.terms.count or step > self.terms.steps:
            raise Malformed(
                f"{message.TAG}: picture {index}, step {step} of {self.terms.count} pictures, {self.terms.steps} steps"
            )
        if isinstance(message, Preview):
            if step <= self._previewed[index]:
                raise Malformed(f"{message.TAG}.step: {step} after {self._previewed[index]}")
            self._previewed[index] = step

    def _begin(self, start: ImageStart) -> None:
        index, agreed = start.index, self.terms
        if index >= agreed.count:
            raise Malformed(f"{start.TAG}.index: {index}, but {agreed.count} pictures were awarded")
        if index in self.pictures:
            raise Malformed(f"{start.TAG}.index: picture {index} comes twice")
        if start.seed != agreed.seeds[index]:
            raise Malformed(f"{start.TAG}.seed: not the one that was asked for")
        if start.size > agreed.max_picture_bytes:
            raise Malformed(f"{start.TAG}.size: {start.size} bytes, where {agreed.max_picture_bytes} are the most")

    def _complete(self, start: ImageStart) -> None:
        self.pictures.append(start.index)
        self._commitments.append((start.salt, start.sha256))

    def _due_bill(self, *more: tuple[bytes, bytes]) -> Bill:
        agreed, commitments = self.terms, (*self._commitments, *more)
        amount, result = agreed.mkudos * len(commitments), result_commitment(commitments)
        return Bill(agreed.net, agreed.job, agreed.hold_id, agreed.payer, agreed.payee, amount, result)

    def _due_voucher(self) -> Voucher:
        agreed = self.terms
        return Voucher(agreed.net, agreed.hold_id, agreed.payer, agreed.payee, self.owed_mkudos)


class RequesterSide(_Side):
    """Judges what the worker sends. ``feed`` is the only way in; ``pay``, ``stop`` and ``settle`` make what goes out."""

    def __init__(self, agreed: Terms) -> None:
        super().__init__(agreed)
        self._start: ImageStart | None = None
        self._data = bytearray()
        self._bill: Bill | None = None

    def feed(self, data: bytes) -> RequesterEvent | None:
        """One message of the worker's. Raises Malformed, and then the side has ended."""
        try:
            return self._receive(self._parse(data))
        except Malformed:
            self.turn = Turn.ENDED
            raise

    def pay(self, identity: Identity) -> bytes:
        """The signed voucher for ``owed_mkudos``, due after each picture."""
        if self.turn is not Turn.PAYING:
            raise OutOfTurn(f"no voucher is due: {self.turn.value}")
        self.turn, self.paid_mkudos = Turn.DRAWING, self.owed_mkudos
        return VoucherMessage(self._due_voucher().sign(identity).encode()).encode()

    def stop(self) -> bytes:
        """Ask the worker to end early; go on feeding until it says Failed or leaves."""
        return Stop().encode()

    def receipt(self) -> Receipt:
        """What the log should say of this job: payment for everything that arrived whole with its bill."""
        if self._bill is None:
            raise OutOfTurn("nothing arrived, so there is nothing to sign for: release the hold instead")
        bill = self._bill
        return Receipt(bill.job, bill.hold_id, bill.payee, bill.amount, bill.result, len(self.pictures), bill.sig)

    def settle(self, entry: bytes) -> bytes:
        """Show the worker the RECEIPT, as the log's entry. The last thing that is said."""
        if not self.ended or self._settled:
            raise OutOfTurn("settled before" if self._settled else f"the job has not ended: {self.turn.value}")
        self._settled = True
        return Settled(entry).encode()

    def _parse(self, data: bytes) -> Record:
        if self.turn is Turn.AWARDED and not peek_tag(data):
            refusal = unsign(data, Refusal)
            if refusal.author != self.terms.payee or refusal.message.offer_id != self.terms.offer_id:
                raise Malformed(f"{Refusal.TAG}: not this worker's answer to this offer")
            return refusal.message
        return _decode_in_turn(data, _FROM_WORKER[self.turn], self.turn)

    def _receive(self, message: Record) -> RequesterEvent | None:
        match message:
            case Progress() | Preview():
                self._step(message)
                return message
            case Accepted():
                return self._accepted(message)
            case ImageStart():
                self._begin(message)
                self._start, self._data, self.turn = message, bytearray(), Turn.SENDING
                return None
            case Chunk():
                assert self._start is not None
                self._take_chunk(self._start, message.data)
                return None
            case BillMessage():
                assert self._start is not None
                return self._take_bill(self._start, message.bill)
            case Done() if not message.pictures == len(self.pictures) == self.terms.count:
                raise Malformed(f"{message.TAG}.pictures: {len(self.pictures)} of {self.terms.count} arrived")
        assert isinstance(message, Refusal | Done | Failed)
        self.turn = Turn.ENDED
        return message

    def _accepted(self, message: Accepted) -> Accepted:
        if message.hold_id != self.terms.hold_id:
            raise Malformed(f"{message.TAG}.hold_id: not the hold of this award")
        self.turn = Turn.DRAWING
        return message

    def _take_chunk(self, start: ImageStart, data: bytes) -> None:
        missing = start.size - len(self._data)
        if len(data) != min(CHUNK_BYTES, missing):
            raise Malformed(f"{Chunk.TAG}.data: {len(data)} bytes where {min(CHUNK_BYTES, missing)} belong")
        self._data += data
        if len(data) == missing:
            if hashlib.sha256(self._data).digest() != start.sha256:
                raise Malformed(f"{start.TAG}.sha256: picture {start.index} has other bytes than announced")
            self.terms.check_picture(self._data)
            self.turn = Turn.BILLING

    def _take_bill(self, start: ImageStart, data: bytes) -> PictureArrived:
        bill, png = Bill.decode(data), bytes(self._data)
        _same(bill, self._due_bill((start.salt, start.sha256)))
        self._complete(start)
        self._bill, self._data, self.turn = bill, bytearray(), Turn.PAYING
        return PictureArrived(start.index, start.seed, png, start.compute_ms, self.owed_mkudos)


class WorkerSide(_Side):
    """Makes what the worker sends, in an order that every requester takes, and judges what comes back."""

    def __init__(self, agreed: Terms) -> None:
        super().__init__(agreed)
        self._voucher: Voucher | None = None
        self._paid_result = b""

    def accept(self) -> bytes:
        return self._say(Accepted(self.terms.hold_id), Turn.DRAWING)

    def progress(self, index: int, step: int) -> bytes:
        return self._say_step(Progress(index, step, self.terms.steps))

    def preview(self, index: int, step: int, jpeg: bytes) -> bytes:
        return self._say_step(Preview(index, step, jpeg))

    def picture(self, index: int, png: bytes, salt: bytes, compute_ms: int) -> list[bytes]:
        """ImageStart and its chunks; ``salt`` is 16 fresh random bytes. Raises Malformed for a picture that is not as ordered."""
        if index >= self.terms.count:
            raise OutOfTurn(f"there is no picture {index} in this job")
        start = ImageStart(index, self.terms.seeds[index], len(png), hashlib.sha256(png).digest(), salt, compute_ms)
        self._begin(start)
        self.terms.check_picture(png)
        messages = [self._say(start, Turn.BILLING)]
        self._complete(start)
        return messages + [Chunk(png[at : at + CHUNK_BYTES]).encode() for at in range(0, len(png), CHUNK_BYTES)]

    def bill(self, identity: Identity) -> bytes:
        return self._say(BillMessage(self._due_bill().sign(identity).encode()), Turn.PAYING)

    def done(self) -> bytes:
        if len(self.pictures) != self.terms.count:
            raise OutOfTurn(f"{len(self.pictures)} of {self.terms.count} pictures went out")
        return self._say(Done(len(self.pictures)), Turn.ENDED)

    def fail(self, reason: str) -> bytes:
        return self._say(Failed(reason), Turn.ENDED)

    def claim(self) -> Claim:
        """What the log may say if the requester does not sign: payment by its last voucher."""
        if self._voucher is None:
            raise OutOfTurn("no voucher came, so there is nothing to claim")
        voucher = self._voucher
        return Claim(voucher.hold_id, self.terms.hold_seq, voucher.payer, voucher.amount, voucher.sig, self._paid_result)

    def feed(self, data: bytes) -> WorkerEvent:
        """One message of the requester's. Raises Malformed, and then the side has ended."""
        try:
            return self._receive(_decode_in_turn(data, _FROM_REQUESTER, self.turn))
        except Malformed:
            self.turn = Turn.ENDED
            raise

    def _receive(self, message: Record) -> WorkerEvent:
        match message:
            case VoucherMessage():
                return self._take_voucher(Voucher.decode(message.voucher))
            case Settled() if self._settled or not self.ended:
                raise Malformed(f"{message.TAG}: {'twice' if self._settled else 'before the job ended'}")
            case Settled():
                self._settled = True
        assert isinstance(message, Stop | Settled)
        return message

    def _take_voucher(self, voucher: Voucher) -> Paid:
        if self.paid_mkudos == self.owed_mkudos and self.turn is not Turn.PAYING:
            raise Malformed(f"{VoucherMessage.TAG}: nothing is owed")
        _same(voucher, self._due_voucher())
        self.paid_mkudos, self._voucher, self._paid_result = voucher.amount, voucher, self.result
        if self.turn is Turn.PAYING:
            self.turn = Turn.DRAWING
        return Paid(voucher.amount)

    def _say_step(self, message: Progress | Preview) -> bytes:
        self._step(message)
        return self._say(message)

    def _say(self, message: Record, then: Turn | None = None) -> bytes:
        if type(message) not in _FROM_WORKER[self.turn]:
            raise OutOfTurn(f"{message.TAG} has no place here: {self.turn.value}")
        self.turn = then or self.turn
        return message.encode()


def _decode_in_turn(data: bytes, kinds: tuple[type[Record], ...], turn: Turn) -> Record:
    if peek_tag(data) not in {kind.TAG for kind in kinds}:
        raise Malformed(f"a message that has no place here: {turn.value}")
    return decode_any(data, kinds)


def _same(got: Bill | Voucher, due: Bill | Voucher) -> None:
    """Raises Malformed that names the first field of a signed note that is not as it must be."""
    for name in (item.name for item in fields(due) if item.name != "sig"):
        if getattr(got, name) != getattr(due, name):
            raise Malformed(f"{due.TAG}.{name}: not what this job comes to by now")
