"""Forks: found, refused, kept as evidence that convinces a third; and nobody honest is ever convicted."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshgen.identity import Identity
from meshgen.ledger.errors import Fork, LedgerError
from meshgen.ledger.forks import fork_between, judge
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.verify import verify_home
from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.credit import decode_entry
from tests.ledger.people import EXPIRES_MS, NET, OTHER_NET, START_MS, Author, author, job, receipt

ME = Identity.from_seed(bytes(32))


def forked() -> tuple[Author, Author]:
    """One person with two pasts that part at entry 2."""
    alice, bob = author(1), author(2)
    twin = alice.copy()
    alice.hold(bob, 10, number=1)
    twin.hold(bob, 10, number=2)
    return alice, twin


def test_the_evidence_is_the_same_whoever_finds_it() -> None:
    alice, twin = forked()
    one, other = alice.entries[1], twin.entries[1]
    evidence = fork_between(one, other)
    assert evidence is not None
    assert evidence == fork_between(other, one)
    assert evidence.ids == tuple(sorted((one.id, other.id)))
    assert judge(NET, evidence.wires) == evidence
    assert judge(NET, (evidence.wires[1], evidence.wires[0])) == evidence


def test_what_proves_no_fork() -> None:
    alice, twin = forked()
    bob = author(2)
    wire = alice.entries[1].wire
    for other in (wire, alice.entries[0].wire, bob.entries[0].wire, author(1, OTHER_NET).entries[0].wire):
        with pytest.raises(Malformed, match="prove no fork"):
            judge(NET, (wire, other))
    with pytest.raises(Malformed, match="prove no fork"):
        judge(OTHER_NET, (wire, twin.entries[1].wire))


def test_a_forged_entry_convicts_nobody() -> None:
    alice, twin = forked()
    forged = encode((twin.entries[1].body, bytes(64)))
    with pytest.raises(Malformed, match="signature"):
        judge(NET, (alice.entries[1].wire, forged))
    assert fork_between(alice.entries[1], decode_entry(forged, verify=False)) is None


async def test_a_fork_is_refused_kept_and_survives_a_restart(tmp_path: Path) -> None:
    alice, twin = forked()
    async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS) as ledger:
        await ledger.add(alice.key, alice.wires)
        with pytest.raises(Fork) as caught:
            await ledger.add(alice.key, twin.wires)
        assert caught.value.seq == 2
        assert ledger.standing(alice.key).forked
    async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert [fork.seq for fork in ledger.forks()] == [2]
        assert ledger.known(alice.key) == alice.head
        alice.hold(author(2), 5, number=3)
        with pytest.raises(Fork):
            await ledger.add(alice.key, alice.wires[2:])
    report = verify_home(tmp_path)
    assert report.ok
    assert [fork.author for fork in report.forks] == [alice.key]


async def test_debits_before_the_fork_stand() -> None:
    alice, bob = author(1), author(2)
    alice.write(receipt(bob, alice.hold(bob, 100), 60))
    twin = alice.copy()
    alice.hold(bob, 1, number=1)
    twin.hold(bob, 2, number=2)
    async with open_ledger(None, ME, NET, now_ms=lambda: START_MS) as ledger:
        await ledger.add(alice.key, alice.wires)
        with pytest.raises(Fork):
            await ledger.add(alice.key, twin.wires[-1:])
        assert ledger.balance(bob.key).earned == 60


async def test_who_finds_the_own_chain_forked_stops_appending() -> None:
    """A copy of the home ran elsewhere: going on would only make more proofs against oneself."""
    async with open_ledger(None, ME, NET, now_ms=lambda: START_MS) as ledger:
        elsewhere = Author(ME)
        elsewhere.entries.append(decode_entry(ledger.entries(ME.public_key, 1, 1)[0]))
        bob = author(2)
        elsewhere.hold(bob, 1)
        await ledger.hold(job(9), bob.key, 1, EXPIRES_MS, bob.head)
        with pytest.raises(Fork):
            await ledger.add(ME.public_key, elsewhere.wires)
        with pytest.raises(LedgerError, match="forked"):
            await ledger.hold(job(10), bob.key, 1, EXPIRES_MS, bob.head)


async def test_a_restored_home_takes_its_own_tail_back_from_peers() -> None:
    alice = Author(ME)
    async with open_ledger(None, ME, NET, now_ms=lambda: START_MS) as ledger:
        alice.entries.append(decode_entry(ledger.entries(ME.public_key, 1, 1)[0]))
        alice.hold(author(2), 1)
        added = await ledger.add(ME.public_key, alice.wires)
        assert (added.new, ledger.head()) == (1, alice.head)
        assert [info.hold_id for info in ledger.open_holds()] == [alice.head.id]
