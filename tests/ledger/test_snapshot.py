"""The stored fold: a home opens to the same from it as from its entries, and only from one that fits."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from meshgen.identity import Identity
from meshgen.ledger import log, snapshot
from meshgen.ledger.books import Books, no_recall
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.ledger.rules import Chain, replay
from meshgen.ledger.store import LEDGER_FILE, Store
from meshgen.protocols.credit import Key, Vouch
from tests.ledger.histories import World, worlds
from tests.ledger.people import EXPIRES_MS, NET, OTHER_NET, START_MS, Author, author, claim, job, receipt

ME = Identity.from_seed(bytes(32))


def opened(home: Path) -> Any:
    return open_ledger(home, ME, NET, now_ms=lambda: START_MS)


def state(ledger: Ledger) -> Any:
    lines = [ledger.explain(key) for key, _ in ledger.heads()]
    return ledger.balances(), dict(ledger.edges()), ledger.heads(), ledger.open_holds(), ledger.digest(), lines


async def fill(ledger: Ledger) -> Author:
    alice, bob, carol = author(1), author(2), author(3)
    alice.write(receipt(bob, alice.hold(bob, 100), 60))
    hold = alice.hold(carol, 50, 1)
    carol.write(claim(alice, hold, 20))
    alice.write(Vouch(job(5), 10, EXPIRES_MS, 0))
    for person in (carol, alice, bob):
        await ledger.add(person.key, person.wires)
    await ledger.hold(job(1), bob.key, 7, EXPIRES_MS, bob.head)
    return alice


@contextmanager
def counting_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many entries of chains are read."""
    read: list[int] = []
    chain = Store.chain

    def counted(self: Store, key: bytes, after: int = 0) -> Any:
        for row in chain(self, key, after):
            read.append(row.seq)
            yield row

    with monkeypatch.context() as patch:
        patch.setattr(Store, "chain", counted)
        yield read


def spoil(home: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(home / LEDGER_FILE)) as connection, connection:
        connection.execute(statement, values)


def stored(home: Path) -> bytes:
    with closing(sqlite3.connect(home / LEDGER_FILE)) as connection:
        return bytes(connection.execute("SELECT value FROM meta WHERE key = 'fold'").fetchone()[0])


async def test_a_home_opens_from_the_stored_fold_and_reads_only_what_came_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as ledger:
        alice = await fill(ledger)
        before = state(ledger)
        vouches = dict(ledger.promises.vouches)
    with counting_rows(monkeypatch) as read:
        async with opened(tmp_path) as ledger:
            assert read == []
            assert state(ledger) == before
            assert ledger.promises.vouches == vouches
            assert ledger.account_of(alice.key) == alice.entries[0].id
    kept = stored(tmp_path)
    async with opened(tmp_path) as ledger:
        alice.write(receipt(author(2), alice.hold(author(2), 5, 9), 5))
        await ledger.add(alice.key, alice.wires)
        before = state(ledger)
    spoil(tmp_path, "UPDATE meta SET value = ? WHERE key = 'fold'", kept)  # as after a kill
    with counting_rows(monkeypatch) as read:
        async with opened(tmp_path) as ledger:
            assert read == [6, 7]
            assert state(ledger) == before


@pytest.mark.parametrize("place", [0, 40, -1])
async def test_a_damaged_one_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    async with opened(tmp_path) as ledger:
        await fill(ledger)
        before = state(ledger)
    data = bytearray(stored(tmp_path))
    data[place] ^= 1
    spoil(tmp_path, "UPDATE meta SET value = ? WHERE key = 'fold'", bytes(data))
    with counting_rows(monkeypatch) as read:
        async with opened(tmp_path) as ledger:
            assert state(ledger) == before
    assert read


async def test_one_that_says_more_than_the_log_is_not_used(tmp_path: Path) -> None:
    """Rows are gone: a file was put back, or cut."""
    async with opened(tmp_path) as ledger:
        alice = await fill(ledger)
    spoil(tmp_path, "DELETE FROM entry WHERE seq = 5 AND aid = (SELECT aid FROM author WHERE key = ?)", alice.key)
    async with opened(tmp_path) as ledger:
        assert ledger.known(alice.key).seq == 4
        await ledger.add(alice.key, alice.wires)
        assert ledger.known(alice.key) == alice.head


async def test_it_is_stored_now_and_then_while_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SNAPSHOT_EVERY", 3)
    alice = author(1)
    async with opened(tmp_path) as ledger:
        for number in range(4):
            alice.write(receipt(author(2), alice.hold(author(2), 5, number), 5))
        await ledger.add(alice.key, alice.wires)
        kept = snapshot.unpack(NET, stored(tmp_path), no_recall)
    assert kept is not None
    _, chains, _ = kept
    assert {chain.author: chain.head for chain in chains}[alice.key] == alice.head


@given(worlds())
@settings(max_examples=30, deadline=None)
def test_packed_and_unpacked_it_is_the_same(world: World) -> None:
    books = Books(no_recall)
    for entry in world.entries:
        books.add(entry)
    chains = [replay(NET, person.key, person.entries) for person in world.people]
    data = snapshot.pack(NET, books, chains, {b"a": {b"b"}})
    read = snapshot.unpack(NET, data, no_recall)
    assert read is not None
    again, chains_again, branches = read
    assert chains_again == chains
    assert branches == {b"a": {b"b"}}
    for name in ("deals", "sums", "edges", "open", "unfolded", "forked"):
        assert getattr(again, name) == getattr(books, name), name
    assert snapshot.unpack(OTHER_NET, data, no_recall) is None


def test_all_of_a_chain_is_stored() -> None:
    """A field that is added to a chain's state must be stored too."""
    names = [field.name for field in dataclasses.fields(Chain)]
    assert names == ["net", "author", "head", "ts_ms", "holds", "claims", "account", "next_hash", "closed"]


async def test_devices_and_vouches_are_known_after_a_restart(tmp_path: Path) -> None:
    alice, device = author(1), author(8)
    alice.write(Key(0, device.key, b"", 0, b"", 0))
    alice.write(Vouch(job(5), 10, EXPIRES_MS, 0))
    async with opened(tmp_path) as ledger:
        await ledger.add(alice.key, alice.wires)
    async with opened(tmp_path) as ledger:
        assert ledger.promises.vouched(alice.key, job(5), START_MS) == 10
        assert set(ledger.accounts.members(alice.entries[0].id)) == {alice.key}
