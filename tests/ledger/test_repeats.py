"""What a hostile answer may hold: the same entries over and over, or two for one place, all in one piece."""

from __future__ import annotations

import pytest

from meshgen.identity import Identity
from meshgen.ledger.errors import Fork
from meshgen.ledger.ledger import open_ledger
from tests.ledger.people import NET, START_MS, author

ME = Identity.from_seed(bytes(32))


async def test_entries_that_repeat_in_one_piece_count_once() -> None:
    payer, payee = author(1), author(2)
    payer.hold(payee, 100)
    async with open_ledger(None, ME, NET, now_ms=lambda: START_MS) as ledger:
        added = await ledger.add(payer.key, payer.wires * 3)
        assert (added.new, added.head) == (2, payer.head)
        assert (await ledger.add(payer.key, payer.wires * 2)).new == 0


async def test_two_branches_in_one_piece_prove_a_fork() -> None:
    payer, payee = author(1), author(2)
    other = payer.copy()
    payer.hold(payee, 100)
    other.hold(payee, 200)
    async with open_ledger(None, ME, NET, now_ms=lambda: START_MS) as ledger:
        with pytest.raises(Fork):
            await ledger.add(payer.key, [*payer.wires, *other.wires])
        assert [fork.seq for fork in ledger.forks()] == [2]
        assert ledger.known(payer.key) == payer.head
