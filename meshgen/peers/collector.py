"""What requesters signed for and this worker must see in a log: their RECEIPT, or else its own CLAIM by the last voucher.

A RECEIPT counts once it stands in its author's chain: what is merely shown may be of a chain that nobody else will ever see.
What is waited for is among the ledger's dues, so it is waited for again after a crash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from meshgen.ledger.errors import Gap, InvalidEntry, LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.peers.archivist import Archivist
from meshgen.peers.trouble import level_of
from meshgen.protocols.credit import Claim
from meshgen.protocols.job_sides import WorkerSide

log = logging.getLogger(__name__)

PULL_PATIENCE_S = 15.0
"""A RECEIPT that was shown, but whose chain must be pulled first, is waited for once to twice so long."""


class Collector:
    """One a worker. ``run`` must be running for receipts that come out of order."""

    def __init__(self, ledger: Ledger, archivist: Archivist, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._archivist = archivist
        self._now_ms = now_ms
        self._waiting: list[tuple[Claim, int]] = []
        """What may be claimed, and when."""

    async def run(self) -> None:
        """Until cancelled; what is waited for then is due at the next start."""
        self._take_up()
        while True:
            waiting, self._waiting = self._waiting, []
            for due, from_ms in waiting:
                if not self._is_paid(due) and self._now_ms() < from_ms:
                    self._waiting.append((due, from_ms))
                else:
                    await self._claim_unless_paid(due)
            await trio.sleep(PULL_PATIENCE_S)

    def _take_up(self) -> None:
        """What an earlier run left: its requester may have signed by now, or be about to, as long as the hold lives."""
        for due in self._ledger.dues():
            if isinstance(due, Claim):
                hold = self._ledger.hold_info(due.hold_id, due.payer, due.hold_seq)
                self._archivist.want(due.payer)
                self._waiting.append((due, max(self._in_a_while(), hold.expires_ms if hold else 0)))

    async def collect(self, side: WorkerSide, receipt: bytes | None) -> None:
        """After a job: ``receipt`` is what the requester showed as its RECEIPT's wire, None if it showed nothing."""
        pulling = receipt is not None and await self._must_pull(side.terms.payer, receipt)
        if not side.paid_mkudos:
            return
        if pulling:
            self._waiting.append((side.claim(), self._in_a_while()))
        else:
            await self._claim_unless_paid(side.claim())

    async def _must_pull(self, payer: bytes, receipt: bytes) -> bool:
        """Keep the receipt; True if entries of other jobs lie before it: the chain is pulled when there is time."""
        try:
            await self._archivist.take(payer, (receipt,))
        except Gap:
            self._archivist.want(payer)
            return True
        except LedgerError as error:
            log.log(level_of(error, logging.WARNING), "a receipt was refused: %s", error)
        return False

    def _in_a_while(self) -> int:
        return self._now_ms() + round(PULL_PATIENCE_S * 1000)

    def _is_paid(self, due: Claim) -> bool:
        hold = self._ledger.hold_info(due.hold_id, due.payer, due.hold_seq)
        return hold is not None and hold.value >= due.amount

    async def _claim_unless_paid(self, due: Claim) -> None:
        if self._is_paid(due):
            self._ledger.drop_due(due.hold_id)
            return
        try:
            await self._ledger.append(due)
        except InvalidEntry as error:  # nor will it ever stand there
            self._ledger.drop_due(due.hold_id)
            log.warning("%d mkudos can't be claimed: %s", due.amount, error)
        except LedgerError as error:
            log.log(level_of(error, logging.WARNING), "%d mkudos could not be claimed: %s", due.amount, error)
