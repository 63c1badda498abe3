"""What requesters signed for and this worker must see in a log: their RECEIPT, or else its own CLAIM by the last voucher.

A RECEIPT counts once it stands in its author's chain: what is merely shown may be of a chain that nobody else will ever see.
"""

from __future__ import annotations

import logging

import trio

from meshgen.ledger.errors import Gap, LedgerError
from meshgen.ledger.ledger import Ledger
from meshgen.peers.archivist import Archivist
from meshgen.protocols.credit import Claim, Voucher
from meshgen.protocols.job_sides import WorkerSide

log = logging.getLogger(__name__)

PULL_PATIENCE_S = 15.0
"""A RECEIPT that was shown, but whose chain must be pulled first, is waited for once to twice so long."""


class Collector:
    """One a worker. ``run`` must be running for receipts that come out of order."""

    def __init__(self, ledger: Ledger, archivist: Archivist) -> None:
        self._ledger = ledger
        self._archivist = archivist
        self._waiting: list[Claim] = []

    async def run(self) -> None:
        """Until cancelled; what is waited for then is claimed at once."""
        older: list[Claim] = []
        try:
            while True:
                await trio.sleep(PULL_PATIENCE_S)
                due, older, self._waiting = older, self._waiting, []
                for claim in due:
                    await self._claim_unless_paid(claim)
        finally:
            with trio.CancelScope(shield=True):
                for claim in (*older, *self._waiting):
                    await self._claim_unless_paid(claim)

    async def collect(self, side: WorkerSide, receipt: bytes | None) -> None:
        """After a job: ``receipt`` is what the requester showed as its RECEIPT's wire, None if it showed nothing."""
        pulling = receipt is not None and await self._must_pull(side.terms.payer, receipt)
        if not side.paid_mkudos:
            return
        if pulling:
            self._waiting.append(side.claim())
        else:
            await self._claim_unless_paid(side.claim())

    async def _must_pull(self, payer: bytes, receipt: bytes) -> bool:
        """Keep the receipt; True if entries of other jobs lie before it: the chain is pulled when there is time."""
        try:
            await self._ledger.add(payer, (receipt,))
        except Gap:
            self._archivist.want(payer)
            return True
        except LedgerError as error:
            log.warning("a receipt was refused: %s", error)
        return False

    async def _claim_unless_paid(self, due: Claim) -> None:
        info = self._ledger.hold_info(due.hold_id)
        if info is not None and info.value >= due.amount:
            return
        mine = self._ledger.identity.public_key
        voucher = Voucher(self._ledger.net, due.hold_id, due.payer, mine, due.amount, due.voucher_sig)
        try:
            await self._ledger.claim(due.hold_id, due.payer, voucher, due.result)
        except LedgerError as error:
            log.warning("%d mkudos could not be claimed: %s", due.amount, error)
