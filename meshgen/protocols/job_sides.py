"""The two sides of one job, without I/O: one channel message in, one event out, :class:`Malformed` for every breach.

The requester's shell (``receive()`` gives None when the worker left)::

    side = RequesterSide(terms(offer, bid, award, hold, work))
    await channel.send(award.wire)
    while not side.ended:
        match side.feed(await channel.receive()):
            case Accepted(): send each of side.give(inputs), if the order has any
            case ResultArrived() as result: await channel.send(side.pay(identity))
            case Refusal() | Failed() as no: ...
            case event: ...  # Progress, Preview, Piece, Done as they are; None: nothing to tell yet
    if side.pictures: append RECEIPT(side.receipt()) to the log; await channel.send(side.settle(entry.wire))

The worker's shell, once it has decided to do the work::

    side = WorkerSide(terms(offer, bid, award, hold, work))
    await channel.send(side.accept())
    if it has inputs: feed() until Fed
    for each result of the engine:
        for message in side.result(index, data, salt, compute_ms): await channel.send(message)
        await channel.send(side.bill(identity))
        side.feed(await channel.receive())  # Paid | Stop; result() before Paid raises OutOfTurn
    await channel.send(side.done())  # or side.fail(reason); then feed() gives Settled
    # no Settled in time, and side.paid_mkudos > 0: append CLAIM(side.claim())

Others' breaches raise Malformed and end the side; what was paid stays paid. One's own mistakes raise :class:`OutOfTurn`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import fields

from meshgen.identity import Identity
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Bill, Claim, Receipt, Voucher, result_commitment
from meshgen.protocols.envelope import unsign
from meshgen.protocols.job import (
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
from meshgen.protocols.job_terms import Terms
from meshgen.protocols.job_turns import (
    FROM_REQUESTER,
    FROM_WORKER,
    Fed,
    OutOfTurn,
    Paid,
    RequesterEvent,
    ResultArrived,
    Turn,
    WorkerEvent,
    chunks,
    decode_in_turn,
    filled,
)
from meshgen.protocols.offer import Refusal
from meshgen.protocols.record import Record, peek_tag

__all__ = ["Fed", "OutOfTurn", "Paid", "RequesterEvent", "RequesterSide", "ResultArrived", "Turn", "WorkerEvent", "WorkerSide"]


class _Side:
    """What both sides keep in step: whose turn it is, which pictures went over whole, what is owed and paid."""

    def __init__(self, agreed: Terms) -> None:
        self.terms = agreed
        self.turn = Turn.AWARDED
        self.pictures: list[int] = []  # indices, in the order of arrival
        self.paid_mkudos = 0
        self._commitments: list[tuple[bytes, bytes]] = []
        self._previewed = [-1] * agreed.count  # the last step shown of each picture
        self._pieces = [0] * agreed.count
        self._settled = False

    @property
    def ended(self) -> bool:
        return self.turn is Turn.ENDED

    @property
    def owed_mkudos(self) -> int:
        """For everything that went over whole, paid or not."""
        return self.terms.mkudos * len(self.pictures)

    @property
    def commitment(self) -> bytes:
        """To the results so far."""
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

    def _piece(self, message: Piece) -> None:
        index, agreed = message.index, self.terms
        if agreed.kind != "text" or index >= agreed.count:
            raise Malformed(f"{message.TAG}: there is no text {index} in this job")
        self._pieces[index] += 1
        if self._pieces[index] > agreed.steps + 1:
            raise Malformed(f"{message.TAG}: text {index} comes in more pieces than it may have tokens")

    def _begin(self, start: ResultStart) -> None:
        index, agreed = start.index, self.terms
        if index >= agreed.count:
            raise Malformed(f"{start.TAG}.index: {index}, but {agreed.count} pictures were awarded")
        if index in self.pictures:
            raise Malformed(f"{start.TAG}.index: picture {index} comes twice")
        if start.seed != agreed.seeds[index]:
            raise Malformed(f"{start.TAG}.seed: not the one that was asked for")
        if not start.size and agreed.kind != "text":
            raise Malformed(f"{start.TAG}.size: only a text may be empty")
        if start.size > agreed.max_result_bytes:
            raise Malformed(f"{start.TAG}.size: {start.size} bytes, where {agreed.max_result_bytes} are the most")

    def _complete(self, start: ResultStart) -> None:
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
        self._start: ResultStart | None = None
        self._data = bytearray()
        self._bill: Bill | None = None

    def feed(self, data: bytes) -> RequesterEvent | None:
        """One message of the worker's. Raises Malformed, and then the side has ended."""
        try:
            return self._receive(self._parse(data))
        except Malformed:
            self.turn = Turn.ENDED
            raise

    def give(self, inputs: Sequence[bytes]) -> Iterator[bytes]:
        """The order's pictures, chunk by chunk, due once it is accepted."""
        if self.turn is not Turn.FEEDING:
            raise OutOfTurn(f"no pictures are due: {self.turn.value}")
        if [(len(data), hashlib.sha256(data).digest()) for data in inputs] != [(i.size, i.sha256) for i in self.terms.inputs]:
            raise OutOfTurn("these are not the pictures that the order names")
        self.turn = Turn.DRAWING
        return (chunk for data in inputs for chunk in chunks(data))

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
        return decode_in_turn(data, FROM_WORKER[self.turn], self.turn)

    def _receive(self, message: Record) -> RequesterEvent | None:
        match message:
            case Progress() | Preview():
                self._step(message)
                return message
            case Piece():
                self._piece(message)
                return message
            case Accepted():
                return self._accepted(message)
            case ResultStart():
                self._begin(message)
                self._start, self._data, self.turn = message, bytearray(), Turn.SENDING
                if not message.size:
                    self._take_chunk(message, b"")
                return None
            case Chunk():
                assert self._start is not None
                self._take_chunk(self._start, message.data)
                return None
            case BillMessage():
                assert self._start is not None
                return self._take_bill(self._start, message.bill)
            case Done() if not message.results == len(self.pictures) == self.terms.count:
                raise Malformed(f"{message.TAG}.results: {len(self.pictures)} of {self.terms.count} arrived")
        assert isinstance(message, Refusal | Done | Failed)
        self.turn = Turn.ENDED
        return message

    def _accepted(self, message: Accepted) -> Accepted:
        if message.hold_id != self.terms.hold_id:
            raise Malformed(f"{message.TAG}.hold_id: not the hold of this award")
        self.turn = Turn.FEEDING if self.terms.inputs else Turn.DRAWING
        return message

    def _take_chunk(self, start: ResultStart, data: bytes) -> None:
        if filled(self._data, data, start.size):
            if hashlib.sha256(self._data).digest() != start.sha256:
                raise Malformed(f"{start.TAG}.sha256: result {start.index} has other bytes than announced")
            self.terms.check_result(self._data)
            self.turn = Turn.BILLING

    def _take_bill(self, start: ResultStart, data: bytes) -> ResultArrived:
        bill, result = Bill.decode(data), bytes(self._data)
        _same(bill, self._due_bill((start.salt, start.sha256)))
        self._complete(start)
        self._bill, self._data, self.turn = bill, bytearray(), Turn.PAYING
        return ResultArrived(start.index, start.seed, result, start.compute_ms, self.owed_mkudos)


class WorkerSide(_Side):
    """Makes what the worker sends, in an order that every requester takes, and judges what comes back."""

    def __init__(self, agreed: Terms) -> None:
        super().__init__(agreed)
        self._voucher: Voucher | None = None
        self._paid_result = b""
        self._inputs: list[bytes] = []
        self._data = bytearray()

    def accept(self) -> bytes:
        return self._say(Accepted(self.terms.hold_id), Turn.FEEDING if self.terms.inputs else Turn.DRAWING)

    def progress(self, index: int, step: int) -> bytes:
        return self._say_step(Progress(index, step, self.terms.steps))

    def preview(self, index: int, step: int, jpeg: bytes) -> bytes:
        return self._say_step(Preview(index, step, jpeg))

    def piece(self, index: int, text: str) -> bytes:
        message = Piece(index, text)
        self._piece(message)
        return self._say(message)

    def result(self, index: int, data: bytes, salt: bytes, compute_ms: int) -> list[bytes]:
        """ResultStart and its chunks; ``salt`` is 16 fresh random bytes. Raises Malformed for what is not as ordered."""
        if index >= self.terms.count:
            raise OutOfTurn(f"there is no result {index} in this job")
        start = ResultStart(index, self.terms.seeds[index], len(data), hashlib.sha256(data).digest(), salt, compute_ms)
        self._begin(start)
        self.terms.check_result(data)
        messages = [self._say(start, Turn.BILLING)]
        self._complete(start)
        return [*messages, *chunks(data)]

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

    def feed(self, data: bytes) -> WorkerEvent | None:
        """One message of the requester's. Raises Malformed, and then the side has ended."""
        try:
            fed = (Chunk,) if self.turn is Turn.FEEDING else ()
            return self._receive(decode_in_turn(data, (*FROM_REQUESTER, *fed), self.turn))
        except Malformed:
            self.turn = Turn.ENDED
            raise

    def _receive(self, message: Record) -> WorkerEvent | None:
        match message:
            case Chunk(data):
                return self._take_input(data)
            case VoucherMessage():
                return self._take_voucher(Voucher.decode(message.voucher))
            case Settled() if self._settled or not self.ended:
                raise Malformed(f"{message.TAG}: {'twice' if self._settled else 'before the job ended'}")
            case Settled():
                self._settled = True
        assert isinstance(message, Stop | Settled)
        return message

    def _take_input(self, data: bytes) -> Fed | None:
        due = self.terms.inputs[len(self._inputs)]
        if not filled(self._data, data, due.size):
            return None
        if hashlib.sha256(self._data).digest() != due.sha256:
            raise Malformed(f"{due.TAG}.sha256: the {due.role} has other bytes than the order says")
        self._inputs.append(bytes(self._data))
        self._data = bytearray()
        if len(self._inputs) < len(self.terms.inputs):
            return None
        self.turn = Turn.DRAWING
        return Fed(tuple(self._inputs))

    def _take_voucher(self, voucher: Voucher) -> Paid:
        if self.paid_mkudos == self.owed_mkudos and self.turn is not Turn.PAYING:
            raise Malformed(f"{VoucherMessage.TAG}: nothing is owed")
        _same(voucher, self._due_voucher())
        self.paid_mkudos, self._voucher, self._paid_result = voucher.amount, voucher, self.commitment
        if self.turn is Turn.PAYING:
            self.turn = Turn.DRAWING
        return Paid(voucher.amount)

    def _say_step(self, message: Progress | Preview) -> bytes:
        self._step(message)
        return self._say(message)

    def _say(self, message: Record, then: Turn | None = None) -> bytes:
        if type(message) not in FROM_WORKER[self.turn]:
            raise OutOfTurn(f"{message.TAG} has no place here: {self.turn.value}")
        self.turn = then or self.turn
        return message.encode()


def _same(got: Bill | Voucher, due: Bill | Voucher) -> None:
    """Raises Malformed that names the first field of a signed note that is not as it must be."""
    for name in (item.name for item in fields(due) if item.name != "sig"):
        if getattr(got, name) != getattr(due, name):
            raise Malformed(f"{due.TAG}.{name}: not what this job comes to by now")
