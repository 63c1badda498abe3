"""What jobs have come to outlives a crash, and leaves with the entry that says it."""

from __future__ import annotations

import pytest

from meshgen.identity import Identity
from meshgen.ledger.dues import Due, pack, unpack
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.ledger.store import Disk
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Bill, Claim, Receipt, Voucher
from tests.ledger.people import EXPIRES_MS, NET, START_MS, Author, author, job

ME = Identity.from_seed(bytes(32))
RESULT = bytes(32)


async def held(ledger: Ledger, payee: Author, amount: int = 100) -> bytes:
    return (await ledger.hold(job(0), payee.key, amount, EXPIRES_MS, payee.head)).id


def receipt_due(hold_id: bytes, payee: Author, amount: int) -> Receipt:
    bill = Bill(NET, job(0), hold_id, ME.public_key, payee.key, amount, RESULT).sign(payee.identity)
    return Receipt(bill.job, hold_id, payee.key, amount, RESULT, 1, bill.sig)


async def test_the_last_one_of_a_hold_is_there_after_a_crash() -> None:
    disk, bob = Disk(), author(2)
    async with open_ledger(disk, ME, NET, now_ms=lambda: START_MS) as ledger:
        hold_id = await held(ledger, bob)
        await ledger.keep_due(receipt_due(hold_id, bob, 10))
        await ledger.keep_due(receipt_due(hold_id, bob, 20))
        crashed = disk.copy()
    async with open_ledger(crashed, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.dues() == [receipt_due(hold_id, bob, 20)]
        await ledger.append(ledger.dues()[0])
        assert ledger.dues() == []
        info = ledger.hold_info(hold_id)
        assert info is not None
        assert (info.state, info.value) == ("paid", 20)
        crashed = crashed.copy()
    async with open_ledger(crashed, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.dues() == [], "it left the disk in the write that settled it"
        with pytest.raises(InvalidEntry, match="no open HOLD"):
            await ledger.append(receipt_due(hold_id, bob, 20))


async def test_one_that_is_dropped_leaves_with_the_next_write() -> None:
    disk, bob = Disk(), author(2)
    writes: list[int] = []
    async with open_ledger(disk, ME, NET, now_ms=lambda: START_MS) as ledger:
        hold_id = await held(ledger, bob)
        await ledger.keep_due(receipt_due(hold_id, bob, 10))
        disk.after_write = lambda: writes.append(1)
        ledger.drop_due(hold_id)
        ledger.drop_due(bytes(32))
        assert (ledger.dues(), writes) == ([], [])
        await held(ledger, bob)
        assert writes == [1]
    async with open_ledger(disk, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.dues() == []


def dues() -> list[Due]:
    alice, bob = author(1), author(2)
    voucher = Voucher(NET, bytes(32), alice.key, bob.key, 7).sign(alice.identity)
    return [receipt_due(bytes(32), bob, 5), Claim(bytes(32), 2, alice.key, 7, voucher.sig, RESULT)]


@pytest.mark.parametrize("due", dues(), ids=("receipt", "claim"))
def test_the_disk_gives_back_what_it_was_given(due: Due) -> None:
    assert unpack(*pack(due)) == due


@pytest.mark.parametrize("due", dues(), ids=("receipt", "claim"))
def test_damage_is_named(due: Due) -> None:
    kind, data = pack(due)
    for bad_kind, bad_data in ((99, data), (kind, data[:-1]), (kind, b""), (kind, b"\x00"), (kind, bytes(2000))):
        with pytest.raises(Malformed):
            unpack(bad_kind, bad_data)
