"""The worker of one job: each write to its disk, each send and each message heard is a step of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from meshgen.ledger.rules import replay
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Claim, Consent, Entry, decode_entry
from meshgen.protocols.envelope import sign, unsign
from meshgen.protocols.job_sides import Paid, Turn, WorkerSide
from meshgen.protocols.offer import Award, Refusal
from tests.ledger.one_job import NET, PAYEE, PAYER, Deal, Log, Snapshot, Step, append, name_of, now_ms, thaw, value_of


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


class WorkerShell:
    make_side = WorkerSide

    def __init__(self, deal: Deal) -> None:
        self.deal = deal

    def initial(self) -> Worker:
        return Worker(W.BIDDING, None, tuple(PAYEE.entries), tuple(PAYER.entries))

    def own(self, me: Worker, expired: bool) -> Iterator[Step]:
        """What it may do without hearing anything."""
        if me.unkept and me.at in TALKING:
            yield Step("worker keeps the voucher", replace(me, due=thaw(me.side).claim(), unkept=False))
        match me.at:
            case W.ACCEPTING:
                yield self._say(me, "worker accepts", "accept", W.DRAWING)
            case W.DRAWING if self.may_draw(me):
                yield self._next(me)
                yield self._say(me, "worker's engine fails", "fail", W.ENDING, "crashed")
            case W.COLLECTING:
                yield self._collect(me, expired, thaw(me.side).claim() if me.voucher else None)
            case W.OVER if me.due:
                yield self._collect(me, expired, me.due)
            case W.OVER if not me.voucher and not me.consent and len(me.known) > 1:
                yield self.consents(me)

    def may_draw(self, me: Worker) -> bool:
        """What is paid by vouchers is on disk before more is risked."""
        return not me.unkept

    def consents(self, me: Worker) -> Step:
        terms = self.deal.terms
        note = Consent(NET, terms.hold_id, terms.payer, terms.payee).sign(PAYEE.identity)
        return Step("worker consents to a RELEASE", replace(me, consent=note.sig))

    def hear(self, me: Worker, message: bytes) -> Step | None:
        if message == self.deal.award and me.at not in TALKING:
            return self._awarded(me)
        if me.at not in TALKING:
            return None
        side, label = thaw(me.side), f"worker hears {name_of(message)}"
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
        side = thaw(me.side)
        message = getattr(side, verb)(*arguments)
        return Step(label, replace(me, at=then, side=Snapshot(side)), (message,))

    def _next(self, me: Worker) -> Step:
        side = thaw(me.side)
        index = len(side.pictures)
        if index == self.deal.terms.count:
            return self._say(me, "worker says done", "done", W.ENDING)
        salt = hashlib.sha256(b"salt %d" % index).digest()[:16]
        sends = (*side.result(index, self.deal.pictures[index], salt, 5), side.bill(PAYEE.identity))
        at = W.WAITING if side.turn is Turn.PAYING else W.DRAWING
        return Step(f"worker sends picture {index}", replace(me, at=at, side=Snapshot(side), sent=me.sent + 1), sends)

    def _collect(self, me: Worker, expired: bool, due: Claim | None) -> Step:
        over = replace(me, at=W.OVER, side=None, due=None, unkept=False)
        if due is None:
            return Step("worker has nothing to claim", over)
        if value_of(due.hold_id, me.known, me.log) >= due.amount:
            return Step("worker sees that it is paid", over)
        log = append(PAYEE, me.log, due, now_ms(expired))
        return Step(f"worker writes CLAIM of {due.amount}", replace(over, log=log))


class LyingShell(WorkerShell):
    """A worker that may also bill for what it does not send, and consent to a release while it holds a voucher."""

    def own(self, me: Worker, expired: bool) -> Iterator[Step]:
        yield from super().own(me, expired)
        if me.at is W.DRAWING and len(thaw(me.side).pictures) < self.deal.terms.count:
            honest = self._next(me)
            start, chunk, bill = honest.sends
            liar = replace(honest.local, sent=me.sent)
            yield Step("worker bills without a picture", liar, (start, bill))
            yield Step("worker sends a bill alone", liar, (bill,))
            yield Step("worker sends another picture than it announced", liar, (start, chunk[:-1] + b"\xff", bill))
        if me.voucher and not me.consent:
            yield self.consents(me)
