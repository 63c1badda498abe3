"""A CLAIM for a deal that is over, and that is only on disk by then."""

from __future__ import annotations

from meshgen.identity import Identity
from meshgen.ledger.fold import Balance
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.store import Disk
from tests.ledger.people import NET, START_MS, author, claim, receipt

ME = Identity.from_seed(bytes(32))


async def test_the_receipt_is_found_though_the_entry_after_the_hold_names_it_too() -> None:
    """...as the one before it, while it closes another hold."""
    payer, payee, disk = author(1), author(2), Disk()
    first, second = payer.hold(payee, 100, 1), payer.hold(payee, 70, 2)
    payer.write(receipt(payee, first, 100))
    payer.write(receipt(payee, second, 70))
    payee.write(claim(payer, second, 70))
    async with open_ledger(disk, ME, NET, now_ms=lambda: START_MS) as ledger:
        await ledger.add(payer.key, payer.wires)
    async with open_ledger(disk, ME, NET, now_ms=lambda: START_MS) as ledger:
        ledger._log.books._recent.clear()
        await ledger.add(payee.key, payee.wires)
        assert ledger.balance(payer.key) == Balance(spent=170)
        assert ledger.balance(payee.key) == Balance(earned=170)
