"""The requester of one job: each write to its disk, each send and each message heard is a step of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Receipt, Release
from meshgen.protocols.job import Done, Failed
from meshgen.protocols.job_sides import RequesterSide, ResultArrived
from meshgen.protocols.offer import Refusal
from tests.ledger.one_job import PAYER, Deal, Log, Snapshot, Step, append, name_of, now_ms, thaw
from tests.ledger.people import START_MS


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
                shown = thaw(me.side).settle(me.log[-1].wire)
                yield Step("requester shows RECEIPT and leaves", replace(me, at=R.OVER, side=None), (shown,), leaves=True)
            case R.OVER:
                yield from self._close(me, expired, consent)

    def hear(self, me: Requester, message: bytes) -> Step | None:
        if me.at is not R.RECEIVING:
            return None
        side, label = thaw(me.side), f"requester hears {name_of(message)}"
        try:
            event = side.feed(message)
        except Malformed as error:
            return Step(f"{label}, which breaks the protocol ({error}), and leaves", self._end(me), leaves=True)
        match event:
            case ResultArrived(index=index, data=got):
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
        side = thaw(me.side)
        due = side.receipt()
        if len(side.pictures) == self.deal.terms.count:
            log = append(PAYER, me.log, due, now_ms(expired))
            yield Step("requester writes RECEIPT for all", replace(me, at=R.PAYING, log=log, due=None))
        else:
            yield Step("requester keeps what is due", replace(me, at=R.PAYING, due=due))

    def _pay(self, me: Requester) -> Step:
        side = thaw(me.side)
        voucher = side.pay(PAYER.identity)
        return Step(
            f"requester sends a voucher of {side.paid_mkudos}", replace(me, at=R.RECEIVING, side=Snapshot(side)), (voucher,)
        )

    def _settle(self, me: Requester, expired: bool, then: R) -> Iterator[Step]:
        assert me.due is not None
        log = append(PAYER, me.log, me.due, now_ms(expired))
        yield Step(f"requester writes RECEIPT of {me.due.amount}", replace(me, at=then, log=log, due=None))
        if self.denies:
            yield Step("requester drops what is due", replace(me, at=R.OVER, due=None, side=None), leaves=True)

    def _close(self, me: Requester, expired: bool, consent: bytes) -> Iterator[Step]:
        """What the disk says: dues first, then the hold."""
        if me.due:
            yield from self._settle(me, expired, R.OVER)
        elif len(me.log) == 2:  # GENESIS and HOLD
            if expired:
                log = append(PAYER, me.log, Release(self.deal.terms.hold_id, 0, b""), now_ms(expired))
                yield Step("requester writes RELEASE", replace(me, log=log))
            if consent:
                log = append(PAYER, me.log, Release(self.deal.terms.hold_id, 1, consent), now_ms(expired))
                yield Step("requester writes RELEASE with the worker's consent", replace(me, log=log))
