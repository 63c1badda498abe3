"""Offline verification points at the very entry that does not hold, and says why."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from meshgen.home import BEGUN_FILE
from meshgen.identity import Identity
from meshgen.ledger.errors import Absent, LedgerError
from meshgen.ledger.fold import Balance
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.store import LEDGER_FILE, Batch, open_store
from meshgen.ledger.verify import verify_home
from tests.ledger.people import EXPIRES_MS, NET, START_MS, Author, author, job, receipt

ME = Identity.from_seed(bytes(32))
RESTORE = "restore it from a backup before going on"


async def filled(home: Path) -> Author:
    """A home with an own chain of 5 and a foreign one of 3; bob's key is returned's."""
    alice, bob = author(1), author(2)
    alice.write(receipt(bob, alice.hold(bob, 30), 30))
    async with open_ledger(home, ME, NET, now_ms=lambda: START_MS) as ledger:
        await ledger.add(alice.key, alice.wires)
        for number in range(2):
            hold = await ledger.hold(job(number), bob.key, 100, EXPIRES_MS, bob.head)
            await ledger.append(receipt(bob, hold, 40))
    return alice


def alter(home: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(home / LEDGER_FILE) as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def flipped(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


async def test_a_sound_home(tmp_path: Path) -> None:
    alice = await filled(tmp_path)
    report = verify_home(tmp_path)
    assert report.ok, report.faults
    assert (report.net, report.own) == (NET, ME.public_key)
    assert {key: head.seq for key, head in report.heads.items()} == {ME.public_key: 5, alice.key: 3}
    assert report.entries == 8
    assert report.balance == Balance(spent=80)
    assert report.balances[author(2).key].earned == 110
    assert report.total == 0
    assert verify_home(tmp_path / LEDGER_FILE) == report


async def test_it_writes_nothing(tmp_path: Path) -> None:
    await filled(tmp_path)
    before = (tmp_path / LEDGER_FILE).read_bytes()
    verify_home(tmp_path)
    assert (tmp_path / LEDGER_FILE).read_bytes() == before


@pytest.mark.parametrize("column", ["body", "sig", "id"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
async def test_a_flipped_bit_is_pointed_at(tmp_path: Path, column: str, place: float) -> None:
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / LEDGER_FILE) as connection:
        aid, data = connection.execute(
            f"SELECT aid, {column} FROM entry JOIN author USING (aid) WHERE key = ? AND seq = 4", (ME.public_key,)
        ).fetchone()
    connection.close()
    index = int(place * len(data))
    alter(tmp_path, f"UPDATE entry SET {column} = ? WHERE aid = ? AND seq = 4", flipped(data, index), aid)
    report = verify_home(tmp_path)
    assert not report.ok
    (fault,) = report.faults
    assert (fault.author, fault.seq) == (ME.public_key, 4)
    assert fault.why
    assert report.heads[ME.public_key].seq == 3
    assert str(fault).startswith(ME.public_key.hex()[:16] + " entry 4: ")


@pytest.mark.parametrize(
    ("statement", "seq", "why"),
    [
        ("DELETE FROM entry WHERE aid = 1 AND seq = 3", 4, "number 4 where 3 belongs"),
        ("UPDATE entry SET seq = 9 WHERE aid = 1 AND seq = 3", 4, "number 4 where 3 belongs"),
        ("UPDATE entry SET kind = 4 WHERE aid = 1 AND seq = 2", 2, "this row's number, id and kind"),
        ("UPDATE entry SET body = 'text' WHERE aid = 1 AND seq = 2", 2, "not an entry"),
        ("UPDATE entry SET sig = NULL WHERE aid = 1 AND seq = 2", 2, "NOT NULL"),
        ("UPDATE entry SET body = 1.5 WHERE aid = 1 AND seq = 2", 2, "float has no place"),
        ("UPDATE entry SET aid = 77 WHERE aid = 1 AND seq = 5", 0, "belong to no author"),
    ],
)
async def test_altered_rows(tmp_path: Path, statement: str, seq: int, why: str) -> None:
    await filled(tmp_path)
    if why == "NOT NULL":
        with pytest.raises(sqlite3.IntegrityError):
            alter(tmp_path, statement)
        return
    alter(tmp_path, statement)
    report = verify_home(tmp_path)
    assert not report.ok
    assert any(fault.seq == seq and why in fault.why for fault in report.faults), report.faults


async def test_a_rule_broken_with_good_signatures_is_found(tmp_path: Path) -> None:
    await filled(tmp_path)
    mallory, bob = author(5), author(2)
    hold = mallory.hold(bob, 10)
    mallory.write(receipt(bob, hold, 11))
    with open_store(tmp_path) as store:
        store.write(Batch([*mallory.entries]), durable=False)
    report = verify_home(tmp_path)
    (fault,) = report.faults
    assert (fault.author, fault.seq, fault.why) == (mallory.key, 3, "a RECEIPT of 11 over a HOLD of 10")
    assert report.total == 0


async def test_a_cut_own_chain_is_missed(tmp_path: Path) -> None:
    await filled(tmp_path)
    alter(tmp_path, "DELETE FROM author WHERE key = ?", ME.public_key)
    report = verify_home(tmp_path)
    assert {fault.why for fault in report.faults} == {"5 entries belong to no author", "the home's own chain is missing"}


async def test_a_damaged_file(tmp_path: Path) -> None:
    await filled(tmp_path)
    file = tmp_path / LEDGER_FILE
    data = bytearray(file.read_bytes())
    for start in range(4096, len(data), 4096):
        data[start : start + 200] = b"\xff" * 200
    file.write_bytes(data)
    try:
        assert not verify_home(tmp_path).ok
    except LedgerError as error:
        assert "can't be used" in str(error)
    with pytest.raises(LedgerError, match="credit log"):
        async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS):
            pass


async def test_damage_is_found_when_it_is_read_and_mended_at_the_next_start(tmp_path: Path) -> None:
    """A home opens from its stored fold, without reading what that covers. Where it is read, it is compared with its id."""
    alice = await filled(tmp_path)
    aid = "(SELECT aid FROM author WHERE key = ?)"
    alter(tmp_path, f"UPDATE entry SET body = x'00' WHERE seq = 2 AND aid = {aid}", alice.key)
    assert not verify_home(tmp_path).ok
    async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.known(alice.key) == alice.head
        for _ in range(2):
            with pytest.raises(LedgerError, match="damaged"):
                ledger.entries(alice.key, 1, 3)
        with pytest.raises(LedgerError, match="damaged"):
            await ledger.add(alice.key, alice.wires)
    async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.known(alice.key).seq == 1
        assert (await ledger.add(alice.key, alice.wires)).head == alice.head
    assert verify_home(tmp_path).ok


async def test_the_own_chain_damaged_stops_the_node(tmp_path: Path) -> None:
    """At the first start, though there is a stored fold."""
    await filled(tmp_path)
    aid = "(SELECT aid FROM author WHERE key = ?)"
    alter(tmp_path, f"UPDATE entry SET body = x'00' WHERE seq = 2 AND aid = {aid}", ME.public_key)
    with pytest.raises(LedgerError, match=f"own chain is damaged at entry 2.*{RESTORE}"):
        async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS):
            pass


async def test_the_own_chain_damaged_while_the_node_runs_can_be_restored_alone(tmp_path: Path) -> None:
    await filled(tmp_path)
    aid = "(SELECT aid FROM author WHERE key = ?)"
    async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS) as ledger:
        alter(tmp_path, f"UPDATE entry SET body = x'00' WHERE seq = 2 AND aid = {aid}", ME.public_key)
        with pytest.raises(LedgerError, match=f"damaged.*{RESTORE}"):
            ledger.entries(ME.public_key, 1, 3)


async def test_an_empty_file_is_no_log_of_another_version(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).touch()
    with pytest.raises(Absent, match="a log begins when the node runs for the first time"):
        verify_home(tmp_path)
    (tmp_path / BEGUN_FILE).write_text(ME.peer_id)
    with pytest.raises(Absent, match="is gone, or empty"):
        verify_home(tmp_path)
