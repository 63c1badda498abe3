"""The requester's side of one part of a job: hold the credit, award, receive, pay, settle.

Whatever happens, the log ends right: a RECEIPT for what arrived whole with its bill, and nothing for what did not. A hold under
which nothing arrived is released when it has expired.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence

import trio

from meshgen.identity import Identity
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.ledger import Ledger
from meshgen.net.port import Channel, Net, PeerId, TooLarge, Unreachable
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import MAX_HOLD_MS, Entry, Head, Receipt, job_id
from meshgen.protocols.envelope import Signed, sign
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.job import Accepted, Done, Failed, Piece, Preview, Progress
from meshgen.protocols.job_sides import RequesterEvent, RequesterSide, ResultArrived
from meshgen.protocols.job_terms import terms
from meshgen.protocols.offer import MAX_CHAIN_ENTRIES, Award, Bid, Offer, Refusal
from meshgen.protocols.order import Order
from meshgen.protocols.sealing import seal

log = logging.getLogger(__name__)

SILENCE_S = 10.0
"""A worker says something at least every three seconds; one that is silent so long is gone or stuck."""
LAST_WORD_S = 2.0
"""A worker that was paid for everything has nothing more to say than that it is done: nobody waits for its pictures till then."""
PASSES, SPARE_REPEATS, REPEATS_PER_S = 4, 64, 4.0
"""A worker that ran out of memory, or whose engine crashed, begins again. Signs of life may come late, and together."""
HOLD_MARGIN_MS = 60_000
MAX_CHAIN_BYTES = 128 * 1024
"""Of the award; a worker that lacks more pulls it."""


class Lost(Exception):
    """The part did not come, or not whole. ``reason`` is a word for statistics, the text is for a person."""

    def __init__(self, reason: str, message: str, *, lied: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.lied = lied


class Repeats:
    """Progress that is none: signs of life, or another pass over what was begun. More of it wears this node down."""

    def __init__(self, steps: int, now_s: float) -> None:
        """``steps`` of all results together."""
        self._left = PASSES * steps + SPARE_REPEATS
        self._since_s = now_s
        self._steps: Counter[int] = Counter()

    def bear(self, progress: Progress, now_s: float) -> bool:
        if progress.step > self._steps[progress.index]:
            self._steps[progress.index] = progress.step
        else:
            self._left -= 1
        return self._left + REPEATS_PER_S * (now_s - self._since_s) >= 0


class Purchase:
    """
    One awarded part. ``limit_s`` bounds it all; ``check`` judges a result (raises Malformed; Lost if it is not to be paid);
    ``tell`` hears every event.
    """

    def __init__(
        self,
        net: Net,
        identity: Identity,
        ledger: Ledger,
        offer: Signed[Offer],
        bid: Signed[Bid],
        order: Order,
        inputs: Sequence[bytes],
        limit_s: float,
        now_ms: Callable[[], int],
        check: Callable[[ResultArrived], None],
        tell: Callable[[RequesterEvent], None],
    ) -> None:
        self._net = net
        self._identity = identity
        self._ledger = ledger
        self._offer = offer
        self._bid = bid
        self._order = order
        self._inputs = inputs
        self._limit_s = limit_s
        self._now_ms = now_ms
        self._check = check
        self._tell = tell
        self._due: Receipt | None = None
        self.receipt: Entry | None = None
        self.arrived: list[ResultArrived] = []
        self.openings: tuple[tuple[bytes, bytes], ...] = ()
        """What opens the RECEIPT's commitment to the pictures."""

    async def run(self) -> None:
        """Until the part is done and settled. Raises Lost; what arrived before is in ``arrived`` and paid either way."""
        try:
            with trio.fail_after(self._limit_s):
                hold = await self._hold()
                award = self._award(hold)
                side = RequesterSide(terms(self._offer, self._bid, award, hold, self._order))
                async with self._net.open(PeerId(self._bid.peer), JOB_PROTOCOL) as channel:
                    await channel.send(award.wire)
                    await self._receive(channel, side)
                    await self._settle()
                    if self.receipt is not None and side.ended:
                        await channel.send(side.settle(self.receipt.wire), last=True)
        except trio.TooSlowError:
            raise Lost("slow", f"took longer than {self._limit_s:.0f} s") from None
        except InvalidEntry as error:  # what the bid says can't stand in a log; one that can't be written ends the whole job
            raise Lost("bad_bid", f"made a bid that no HOLD can be made for ({error})", lied=True) from None
        except Unreachable as error:
            raise Lost("gone", f"went away ({error})") from None
        except (Malformed, TooLarge) as error:
            raise Lost("broke_protocol", f"broke the protocol: {error}", lied=True) from None
        finally:
            with trio.CancelScope(shield=True):
                await self._settle()

    async def _hold(self) -> Entry:
        bid = self._bid.message
        lifetime_ms = min(round(self._limit_s * 1000) + HOLD_MARGIN_MS, MAX_HOLD_MS)
        return await self._ledger.hold(
            job=job_id(os.urandom(32), self._offer.id),
            payee=self._bid.author,
            amount=bid.mkudos * len(self._order.seeds),
            expires_ms=self._now_ms() + lifetime_ms,
            payee_head=Head(bid.head_seq, bid.head_id),
        )

    def _award(self, hold: Entry) -> Signed[Award]:
        bid = self._bid.message
        return sign(
            self._identity,
            Award(
                net=bid.net,
                offer_id=self._offer.id,
                bid_id=self._bid.id,
                count=len(self._order.seeds),
                hold_id=hold.id,
                chain=self._chain(bid.known_seq + 1, hold.seq),
                sealed=seal(self._order, bid.seal_key, self._bid.id),
            ),
        )

    def _chain(self, first: int, last: int) -> tuple[bytes, ...]:
        """The entries that the worker lacks up to the HOLD, from the first on; it pulls what does not fit."""
        if last - first >= MAX_CHAIN_ENTRIES:
            return ()
        entries = tuple(self._ledger.entries(self._identity.public_key, first, last))
        return entries if sum(map(len, entries)) <= MAX_CHAIN_BYTES else ()

    async def _receive(self, channel: Channel, side: RequesterSide) -> None:
        """To the worker's last word, or until it has been paid for everything and dallies."""
        with trio.CancelScope() as dallying:
            await self._receive_all(channel, side, dallying)

    async def _receive_all(self, channel: Channel, side: RequesterSide, dallying: trio.CancelScope) -> None:
        repeats = Repeats(side.terms.count * side.terms.steps, trio.current_time())
        while not side.ended:
            try:
                with trio.fail_after(SILENCE_S):
                    message = await channel.receive()
            except trio.TooSlowError:
                raise Lost("silent", f"was silent for {SILENCE_S:.0f} s") from None
            if message is None:
                raise Lost("gone", "left before it was done")
            event = side.feed(message)
            if isinstance(event, Progress) and not repeats.bear(event, trio.current_time()):
                raise Lost("broke_protocol", "told the same progress over and over", lied=True)
            if isinstance(event, Accepted) and self._inputs:
                for chunk in side.give(self._inputs):
                    await channel.send(chunk)
            if isinstance(event, ResultArrived):
                self._check(event)
                self.arrived.append(event)
                await self._promise(side)
                await channel.send(side.pay(self._identity))
                if len(self.arrived) == side.terms.count:
                    dallying.deadline = trio.current_time() + LAST_WORD_S
            if event is not None:
                self._tell(event)
            self._judge(event)

    @staticmethod
    def _judge(event: RequesterEvent | None) -> None:
        match event:
            case Refusal(reason=reason):
                raise Lost(reason, f"took back its bid ({reason})")
            case Failed(reason=reason):
                raise Lost(reason, f"failed ({reason})")
            case Accepted() | Progress() | Preview() | Piece() | Done() | ResultArrived() | None:
                return

    async def _promise(self, side: RequesterSide) -> None:
        """Put on disk what a voucher is to promise, before it is signed: this node may be killed, and would deny it after that.

        Where nothing more is to come that is the RECEIPT itself.
        """
        self._due, self.openings = side.receipt(), side.openings
        if len(self.arrived) == len(self._order.seeds):
            await self._settle()
        else:
            await self._ledger.keep_due(self._due)

    async def _settle(self) -> None:
        """Sign for what arrived, once. A picture that failed the check was not paid by a voucher, nor is it here."""
        if self.receipt is None and self._due is not None:
            self.receipt = await self._ledger.append(self._due)
