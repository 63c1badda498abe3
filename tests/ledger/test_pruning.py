"""A foreign chain without its beginning: it goes on, its sums stay, and what can not be proved any more counts for nothing."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from meshgen.identity import Identity
from meshgen.ledger import checkpoints
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.fold import Balance
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.ledger.store import LEDGER_FILE
from meshgen.ledger.verify import verify_home
from meshgen.protocols.credit import Checkpoint, Transfer, Vouch
from tests.ledger.people import NET, START_MS, Author, author, claim, receipt

ME = Identity.from_seed(bytes(32))


def opened(home: Path | None) -> Any:
    return open_ledger(home, ME, NET, now_ms=lambda: START_MS)


def forget_fold(home: Path) -> None:
    with closing(sqlite3.connect(home / LEDGER_FILE)) as connection, connection:
        connection.execute("DELETE FROM meta WHERE key = 'fold'")


def story() -> tuple[Author, Author, Author]:
    """Alice paid Bob twice, gave him something, left one hold open for Carol, who claims on it, and sums it all up."""
    alice, bob, carol = author(1), author(2), author(3)
    for number in range(2):
        alice.write(receipt(bob, alice.hold(bob, 100, number), 60))
    alice.write(Transfer(bob.key, 5, 0, b""))
    hold = alice.hold(carol, 50, 2)
    alice.hold(carol, 40, 3)
    carol.write(claim(alice, hold, 20))
    sums = checkpoints.Sums(0, 145, 70, bytes(32))
    alice.write(Checkpoint(alice.head.seq, alice.head.id, *sums, ()))
    return alice, bob, carol


def figures(ledger: Ledger) -> Any:
    return ledger.balances(), dict(ledger.edges()), ledger.digest()


@pytest.mark.parametrize("upto", [3, 5, 6, 8])
async def test_everything_but_the_entries_stays(tmp_path: Path, upto: int) -> None:
    alice, bob, carol = story()
    async with opened(tmp_path) as ledger:
        for person in (alice, bob, carol):
            await ledger.add(person.key, person.wires)
        before = figures(ledger)
        await ledger.prune(alice.key, upto)
        assert figures(ledger) == before
        assert ledger.entries(alice.key, 1, 99) == []
        assert ledger.entries(alice.key, upto + 1, 99) == alice.wires[upto:]
    for forgets in (False, True):
        if forgets:
            forget_fold(tmp_path)
        report = verify_home(tmp_path)
        assert report.ok, report.faults
        assert report.balances[bob.key] == Balance(earned=125)
        async with opened(tmp_path) as ledger:
            assert figures(ledger) == before
            assert ledger.account_of(alice.key) == alice.entries[0].id
    async with opened(tmp_path) as ledger:  # the chain goes on, a hold of its beginning is paid
        alice.write(receipt(carol, alice.entries[7], 33))
        await ledger.add(alice.key, alice.wires)
        assert ledger.balance(carol.key).earned == 53
        await ledger.prune(alice.key, upto)
    assert verify_home(tmp_path).ok


async def test_it_may_be_done_again_further_on(tmp_path: Path) -> None:
    alice, bob, carol = story()
    async with opened(tmp_path) as ledger:
        for person in (alice, bob, carol):
            await ledger.add(person.key, person.wires)
        before = figures(ledger)
        await ledger.prune(alice.key, 3)
        await ledger.prune(alice.key, 8)
    forget_fold(tmp_path)
    async with opened(tmp_path) as ledger:
        assert figures(ledger) == before
    assert verify_home(tmp_path).ok


async def test_a_claim_for_what_was_pruned_comes_too_late() -> None:
    alice, bob, carol = story()
    late = bob.write(claim(alice, alice.entries[1], 90))
    async with opened(None) as ledger:
        for person in (alice, carol):
            await ledger.add(person.key, person.wires)
        await ledger.prune(alice.key, 8)
        await ledger.add(bob.key, bob.wires)
        assert ledger.known(bob.key) == late.head
        assert ledger.balance(bob.key) == Balance(earned=125)
        assert ledger.hold_info(alice.entries[1].id, alice.key, 2) is None


async def test_what_may_not_be_pruned(tmp_path: Path) -> None:
    alice, bob, carol = story()
    twin = carol.copy()
    carol.hold(bob, 1, 90)
    twin.hold(bob, 1, 91)
    async with opened(tmp_path) as ledger:
        for person in (alice, bob, carol):
            await ledger.add(person.key, person.wires)
        with pytest.raises(LedgerError, match="own chain"):
            await ledger.prune(ME.public_key, 1)
        with pytest.raises(LedgerError, match="no checkpoint"):
            await ledger.prune(bob.key, 1)
        with pytest.raises(LedgerError, match="no checkpoint"):
            await ledger.prune(alice.key, 9)
        with pytest.raises(LedgerError):
            await ledger.add(carol.key, twin.wires)
        with pytest.raises(LedgerError, match="forked"):
            await ledger.prune(carol.key, 1)


async def test_damage_to_what_is_kept_is_found_and_the_chain_pulled_again(tmp_path: Path) -> None:
    alice, bob, carol = story()
    async with opened(tmp_path) as ledger:
        for person in (alice, bob, carol):
            await ledger.add(person.key, person.wires)
        await ledger.prune(alice.key, 8)
    forget_fold(tmp_path)
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as connection, connection:
        connection.execute("UPDATE pruned SET state = x'00'")
    assert "pruned" in str(verify_home(tmp_path).faults[0])
    async with opened(tmp_path) as ledger:
        assert ledger.known(alice.key).seq == 0
        await ledger.add(alice.key, alice.wires)
        assert ledger.balance(bob.key).earned == 125
    assert verify_home(tmp_path).ok


async def test_a_node_that_is_killed_after_pruning_does_not_go_by_an_older_fold(tmp_path: Path) -> None:
    """The chain ended, when the fold was stored, with an entry that pruning keeps."""
    alice, bob = author(1), author(2)
    alice.write(receipt(bob, alice.hold(bob, 100), 60))
    alice.write(Vouch(bytes(32), 1, START_MS + 1, 0))
    home, killed = tmp_path / "home", tmp_path / "killed"
    async with opened(home) as ledger:
        await ledger.add(alice.key, alice.wires)
    for number in range(1, 4):
        alice.write(receipt(bob, alice.hold(bob, 100, number), 60))
    alice.write(Checkpoint(alice.head.seq, alice.head.id, 0, 240, 0, bytes(32), ()))
    async with opened(home) as ledger:
        await ledger.add(alice.key, alice.wires)
        await ledger.prune(alice.key, 10)
        before = figures(ledger)
        shutil.copytree(home, killed)
    async with opened(killed) as ledger:
        assert figures(ledger) == before
        assert ledger.known(alice.key) == alice.head
