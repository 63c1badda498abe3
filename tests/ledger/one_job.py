"""The two sides of one job as a model: what each has in memory and on disk, and every single step that it may take next.

All that is judged, signed or folded is judged, signed and folded by the real code (:mod:`meshgen.protocols.job_sides`,
:mod:`meshgen.ledger.rules`, :mod:`meshgen.ledger.fold`); what is modelled is the shell around it (``purchase``, ``delivery``,
``collector``), cut at each write to the disk and each send, for between any two of them the process may be killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

from meshgen.ledger.fold import gather
from meshgen.ledger.rules import replay
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Claim, Consent, Content, Entry, Hold, Receipt, Release, decode_entry, make_entry
from meshgen.protocols.envelope import Signed, sign, unsign
from meshgen.protocols.job import Done, Failed, WorkOrder
from meshgen.protocols.job_sides import Paid, PictureArrived, RequesterSide, Turn, WorkerSide
from meshgen.protocols.job_terms import Terms, terms
from meshgen.protocols.offer import Award, Bid, Offer, Refusal
from meshgen.protocols.record import peek_tag
from tests.ledger.people import EXPIRES_MS, NET, START_MS, Author, author
from tests.protocols.deals import SIDE, STEPS, png

PRICE = 500
PAYER, PAYEE = author(1), author(2)

Log = tuple[Entry, ...]


class Snapshot:
    """A side of a job, frozen: equal to another if everything in them is equal."""

    __slots__ = ("_side", "key")

    def __init__(self, side: RequesterSide | WorkerSide) -> None:
        self._side = side
        self.key = tuple((name, _frozen(value)) for name, value in sorted(vars(side).items()) if name != "terms")

    def thaw(self) -> Any:
        """A side of one's own to go on with."""
        twin = copy(self._side)
        vars(twin).update({name: copy(value) for name, value in vars(twin).items() if isinstance(value, list | bytearray)})
        return twin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return bytes(value) if isinstance(value, bytearray) else value


class Deal(NamedTuple):
    """What both sides agreed on before the job, and the award that says so."""

    hold: Hold
    award: bytes
    terms: Terms
    offer: Signed[Offer]
    pictures: tuple[bytes, ...]


def make_deal(count: int) -> Deal:
    head, expires_ms = PAYEE.head, EXPIRES_MS
    size = (SIDE, SIDE, STEPS, count)
    offer = sign(PAYER.identity, Offer(NET, bytes(16), "m", b"", "other", *size, (), 1000, START_MS, expires_ms, ()))
    weights = hashlib.sha256(b"weights").digest()
    bid = sign(PAYEE.identity, Bid(NET, offer.id, weights, count, PRICE, 0, 1000, bytes(32), *head, 1, expires_ms))
    hold = Hold(hashlib.sha256(b"job").digest(), PAYEE.key, PRICE * count, expires_ms, *head)
    entry = append(PAYER, tuple(PAYER.entries), hold, START_MS)[-1]
    award = sign(PAYER.identity, Award(NET, offer.id, bid.id, count, entry.id, (entry.wire,), b"sealed"))
    work = WorkOrder(offer.id, "a prompt", "", "m", weights, SIDE, SIDE, STEPS, 5000, "", tuple(range(count)), 0)
    pictures = tuple(png(size=200, fill=index) for index in range(count))
    return Deal(hold, award.wire, terms(offer, bid, award, entry, work), offer, pictures)


def append(writer: Author, log: Log, content: Content, ts_ms: int) -> Log:
    """The log with one entry more, judged by the rules. Raises InvalidEntry: an honest shell never meets that."""
    head = log[-1].head
    entry = make_entry(writer.identity, NET, head.seq + 1, head.id, ts_ms, kind=content.KIND, data=content.data())
    longer = (*log, entry)
    replay(NET, writer.key, longer)
    return longer


def value_of(hold_id: bytes, *logs: Log) -> int:
    deal = gather(entry for log in logs for entry in log).get(hold_id)
    return deal.value if deal else 0


class Step(NamedTuple):
    """One step of one side: what it is, what it leads to, what it sends, what becomes of the channel."""

    label: str
    local: Any
    sends: tuple[bytes, ...] = ()
    leaves: bool = False


class R(Enum):
    """Where the requester stands."""

    HOLDING = "the HOLD must be written"
    AWARDING = "the award must be sent"
    RECEIVING = "the worker's next message is awaited"
    PROMISING = "a picture is whole; what its voucher says must be on disk first"
    PAYING = "the voucher must be sent"
    SETTLING = "all is done, the RECEIPT must be written"
    TELLING = "the RECEIPT must be shown"
    OVER = "nothing in hand but what is on disk"
    DOWN = "killed"


@dataclass(frozen=True, slots=True)
class Requester:
    at: R
    side: Snapshot | None
    log: Log
    due: Receipt | None = None
    whole: int = 0
    """Pictures that arrived whole, in all runs."""


class W(Enum):
    """Where the worker stands."""

    BIDDING = "an award is awaited"
    ACCEPTING = "the yes must be sent"
    DRAWING = "the next picture, or the end, must be sent"
    WAITING = "a voucher is awaited"
    ENDING = "all was said, the RECEIPT is awaited"
    COLLECTING = "the channel is gone; what was promised must be in a log"
    OVER = "nothing in hand but what is on disk"
    DOWN = "killed"


TALKING = frozenset((W.ACCEPTING, W.DRAWING, W.WAITING, W.ENDING))


@dataclass(frozen=True, slots=True)
class Worker:
    at: W
    side: Snapshot | None
    log: Log
    known: Log
    """The requester's chain, as far as it came."""
    due: Claim | None = None
    unkept: bool = False
    """A voucher came and is not on disk yet."""
    voucher: int = 0
    """What the best voucher says that is in hand or was claimed."""
    sent: int = 0
    """Pictures that went out whole, in all runs."""
    consent: bytes = b""


class RequesterShell:
    """``denies``: this requester may also break its word, by leaving out a RECEIPT that is due."""

    make_side = RequesterSide

    def __init__(self, deal: Deal, denies: bool) -> None:
        self.deal = deal
        self.denies = denies

    def initial(self) -> Requester:
        return Requester(R.HOLDING, None, tuple(PAYER.entries))

    def own(self, me: Requester, expired: bool, consent: bytes) -> Iterator[Step]:
        """What it may do without hearing anything."""
        match me.at:
            case R.HOLDING:
                log = append(PAYER, me.log, self.deal.hold, START_MS)
                yield Step("requester writes HOLD", replace(me, at=R.AWARDING, log=log))
            case R.AWARDING:
                side = Snapshot(self.make_side(self.deal.terms))
                yield Step("requester sends the award", replace(me, at=R.RECEIVING, side=side), (self.deal.award,))
            case R.PROMISING:
                yield from self._promise(me, expired)
                yield Step("requester refuses the picture and leaves", self._end(me), leaves=True)
            case R.PAYING:
                yield self._pay(me)
            case R.SETTLING:
                yield from self._settle(me, expired, R.TELLING)
            case R.TELLING:
                shown = _thaw(me).settle(me.log[-1].wire)
                yield Step("requester shows RECEIPT and leaves", replace(me, at=R.OVER, side=None), (shown,), leaves=True)
            case R.OVER:
                yield from self._close(me, expired, consent)

    def hear(self, me: Requester, message: bytes) -> Step | None:
        if me.at is not R.RECEIVING:
            return None
        side, label = _thaw(me), f"requester hears {name_of(message)}"
        try:
            event = side.feed(message)
        except Malformed as error:
            return Step(f"{label}, which breaks the protocol ({error}), and leaves", self._end(me), leaves=True)
        match event:
            case PictureArrived(index=index, png=got):
                whole = me.whole + (got == self.deal.pictures[index])
                return Step(label, replace(me, at=R.PROMISING, side=Snapshot(side), whole=whole))
            case Done():
                open_still = not isinstance(me.log[-1].content, Receipt)
                return Step(label, replace(me, at=R.SETTLING if open_still else R.TELLING, side=Snapshot(side)))
            case Refusal() | Failed():
                return Step(f"{label} and leaves", self._end(me), leaves=True)
        return Step(label, replace(me, side=Snapshot(side)))

    def gives_up(self, me: Requester) -> Step | None:
        """Silence for too long, or the channel broke."""
        return Step("requester gives up", self._end(me), leaves=True) if me.at is R.RECEIVING else None

    def crash(self, me: Requester) -> Step:
        return Step("requester is killed", replace(me, at=R.DOWN, side=None))

    def restart(self, me: Requester) -> Step:
        return Step("requester starts again", replace(me, at=R.OVER))

    def _end(self, me: Requester) -> Requester:
        return replace(me, at=R.OVER, side=None)

    def _promise(self, me: Requester, expired: bool) -> Iterator[Step]:
        side = _thaw(me)
        due = side.receipt()
        if len(side.pictures) == self.deal.terms.count:
            log = append(PAYER, me.log, due, _now(expired))
            yield Step("requester writes RECEIPT for all", replace(me, at=R.PAYING, log=log, due=None))
        else:
            yield Step("requester keeps what is due", replace(me, at=R.PAYING, due=due))

    def _pay(self, me: Requester) -> Step:
        side = _thaw(me)
        voucher = side.pay(PAYER.identity)
        return Step(
            f"requester sends a voucher of {side.paid_mkudos}", replace(me, at=R.RECEIVING, side=Snapshot(side)), (voucher,)
        )

    def _settle(self, me: Requester, expired: bool, then: R) -> Iterator[Step]:
        assert me.due is not None
        log = append(PAYER, me.log, me.due, _now(expired))
        yield Step(f"requester writes RECEIPT of {me.due.amount}", replace(me, at=then, log=log, due=None))
        if self.denies:
            yield Step("requester drops what is due", replace(me, at=R.OVER, due=None, side=None), leaves=True)

    def _close(self, me: Requester, expired: bool, consent: bytes) -> Iterator[Step]:
        """What the disk says: dues first, then the hold."""
        if me.due:
            yield from self._settle(me, expired, R.OVER)
        elif len(me.log) == 2:  # GENESIS and HOLD
            if expired:
                log = append(PAYER, me.log, Release(self.deal.terms.hold_id, 0, b""), _now(expired))
                yield Step("requester writes RELEASE", replace(me, log=log))
            if consent:
                log = append(PAYER, me.log, Release(self.deal.terms.hold_id, 1, consent), _now(expired))
                yield Step("requester writes RELEASE with the worker's consent", replace(me, log=log))


class WorkerShell:
    make_side = WorkerSide

    def __init__(self, deal: Deal) -> None:
        self.deal = deal

    def initial(self) -> Worker:
        return Worker(W.BIDDING, None, tuple(PAYEE.entries), tuple(PAYER.entries))

    def own(self, me: Worker, expired: bool) -> Iterator[Step]:
        """What it may do without hearing anything."""
        if me.unkept and me.at in TALKING:
            yield Step("worker keeps the voucher", replace(me, due=_thaw(me).claim(), unkept=False))
        match me.at:
            case W.ACCEPTING:
                yield self._say(me, "worker accepts", "accept", W.DRAWING)
            case W.DRAWING if self.may_draw(me):
                yield self._next(me)
                yield self._say(me, "worker's engine fails", "fail", W.ENDING, "crashed")
            case W.COLLECTING:
                yield self._collect(me, expired, _thaw(me).claim() if me.voucher else None)
            case W.OVER if me.due:
                yield self._collect(me, expired, me.due)
            case W.OVER if not me.voucher and not me.consent and len(me.known) > 1:
                terms = self.deal.terms
                note = Consent(NET, terms.hold_id, terms.payer, terms.payee).sign(PAYEE.identity)
                yield Step("worker consents to a RELEASE", replace(me, consent=note.sig))

    def may_draw(self, me: Worker) -> bool:
        """What is paid by vouchers is on disk before more is risked."""
        return not me.unkept

    def hear(self, me: Worker, message: bytes) -> Step | None:
        if message == self.deal.award and me.at not in TALKING:
            return self._awarded(me)
        if me.at not in TALKING:
            return None
        side, label = _thaw(me), f"worker hears {name_of(message)}"
        try:
            event = side.feed(message)
        except Malformed as error:
            return Step(f"{label}, which breaks the protocol ({error}), and leaves", replace(me, at=W.COLLECTING), leaves=True)
        if isinstance(event, Paid):
            at = W.DRAWING if me.at is W.WAITING else me.at
            return Step(label, replace(me, at=at, side=Snapshot(side), unkept=True, voucher=event.mkudos))
        known = self._learn(me.known, decode_entry(event.entry)) if hasattr(event, "entry") else me.known
        return Step(f"{label} and leaves", replace(me, at=W.COLLECTING, side=Snapshot(side), known=known), leaves=True)

    def gives_up(self, me: Worker) -> Step | None:
        """No voucher, or nothing more after the end, for too long."""
        if me.at is W.WAITING:
            return self._say(me, "worker waits no longer for a voucher", "fail", W.ENDING, "unpaid")
        return self.cut_off(me) if me.at is W.ENDING else None

    def cut_off(self, me: Worker) -> Step | None:
        """The channel is gone."""
        gone = replace(me, at=W.COLLECTING)
        return Step("worker finds the channel ended", gone, leaves=True) if me.at in TALKING else None

    def pull(self, me: Worker, log: Log) -> Step | None:
        """The requester's chain comes by another way."""
        wants = me.at is W.COLLECTING or (me.at is W.OVER and me.due)
        return Step("worker pulls the requester's log", replace(me, known=log)) if wants and me.known != log else None

    def crash(self, me: Worker) -> Step:
        claimed = max((entry.content.amount for entry in me.log if isinstance(entry.content, Claim)), default=0)
        left = max(claimed, me.due.amount if me.due else 0)
        settled = me.at is W.OVER and not me.due
        voucher = me.voucher if settled else left
        return Step("worker is killed", replace(me, at=W.DOWN, side=None, unkept=False, voucher=voucher))

    def restart(self, me: Worker) -> Step:
        return Step("worker starts again", replace(me, at=W.OVER))

    def _awarded(self, me: Worker) -> Step:
        """A bid is taken once, and only in the run that made it."""
        if me.at is not W.BIDDING:
            no = sign(PAYEE.identity, Refusal(NET, self.deal.offer.id, "not_mine", 0))
            return Step("worker hears an award that is not its own any more", me, (no.wire,))
        hold = decode_entry(unsign(self.deal.award, Award).message.chain[-1])
        side = Snapshot(self.make_side(self.deal.terms))
        return Step("worker hears the award", replace(me, at=W.ACCEPTING, side=side, known=self._learn(me.known, hold)))

    def _learn(self, known: Log, entry: Entry) -> Log:
        if entry.seq != known[-1].seq + 1:
            return known
        replay(NET, PAYER.key, (*known, entry))
        return (*known, entry)

    def _say(self, me: Worker, label: str, verb: str, then: W, *arguments: object) -> Step:
        side = _thaw(me)
        message = getattr(side, verb)(*arguments)
        return Step(label, replace(me, at=then, side=Snapshot(side)), (message,))

    def _next(self, me: Worker) -> Step:
        side = _thaw(me)
        index = len(side.pictures)
        if index == self.deal.terms.count:
            return self._say(me, "worker says done", "done", W.ENDING)
        salt = hashlib.sha256(b"salt %d" % index).digest()[:16]
        sends = (*side.picture(index, self.deal.pictures[index], salt, 5), side.bill(PAYEE.identity))
        at = W.WAITING if side.turn is Turn.PAYING else W.DRAWING
        return Step(f"worker sends picture {index}", replace(me, at=at, side=Snapshot(side), sent=me.sent + 1), sends)

    def _collect(self, me: Worker, expired: bool, due: Claim | None) -> Step:
        over = replace(me, at=W.OVER, side=None, due=None, unkept=False)
        if due is None:
            return Step("worker has nothing to claim", over)
        if value_of(due.hold_id, me.known, me.log) >= due.amount:
            return Step("worker sees that it is paid", over)
        log = append(PAYEE, me.log, due, _now(expired))
        return Step(f"worker writes CLAIM of {due.amount}", replace(over, log=log))


def name_of(message: bytes) -> str:
    """A message by its TAG; what is in an envelope has none."""
    return peek_tag(message) or "a signed message"


def _thaw(me: Requester | Worker) -> Any:
    assert me.side is not None
    return me.side.thaw()


def _now(expired: bool) -> int:
    return EXPIRES_MS if expired else START_MS
