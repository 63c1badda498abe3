"""Vouches and advisories: the latest word counts while it lasts, in whatever order the words come."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from meshgen.identity import Identity
from meshgen.ledger.forks import fork_between
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.promises import Promises
from meshgen.protocols.credit import ADD, Advisory, Key, Vouch, make_entry
from tests.ledger.people import NET, START_MS, author, job

LATER = START_MS + 1000
ACCOUNT, OTHER = job(1), job(2)


def test_the_latest_vouch_counts_until_it_expires_or_is_taken_back() -> None:
    alice = author(1)
    for limit, revoke in ((500, 0), (700, 0), (700, 1), (900, 0)):
        alice.write(Vouch(ACCOUNT, limit, LATER, revoke))
    entries = alice.entries[1:]
    for upto, expected in ((1, 500), (2, 700), (3, 0), (4, 900)):
        promises = Promises()
        for entry in Random(upto).sample(entries[:upto] * 2, 2 * upto):
            promises.add(entry)
        assert promises.vouched(alice.key, ACCOUNT, START_MS) == expected
        assert promises.vouched(alice.key, ACCOUNT, LATER) == 0
        assert promises.vouched(alice.key, OTHER, START_MS) == 0


def test_a_change_is_told_once() -> None:
    alice = author(1)
    entry = alice.write(Vouch(ACCOUNT, 5, LATER, 0))
    promises = Promises()
    assert promises.add(entry) == (alice.key, ACCOUNT)
    assert promises.add(entry) is None


def test_advice_is_heard_of_those_whom_one_follows_and_goes_no_further() -> None:
    alice, bob = author(1), author(2)
    word = Advisory("clean", 0, 0, ACCOUNT, "sends noise", 2, LATER, b"")
    promises = Promises()
    promises.add(alice.write(word))
    promises.add(bob.write(replace(word, recommendation=0)))
    promises.add(alice.write(Advisory("friends", 0, 0, bob.key, "", 0, LATER, b"")))
    heard = list(promises.advice(frozenset((alice.key,)), ACCOUNT, START_MS))
    assert [(who, said.advisory.recommendation) for who, said in heard] == [(alice.key, 2)]
    assert not list(promises.advice(frozenset((alice.key,)), ACCOUNT, LATER)), "expired"
    assert not list(promises.advice(frozenset(), ACCOUNT, START_MS)), "nobody is followed"
    promises.add(alice.write(replace(word, op=1)))
    assert not list(promises.advice(frozenset((alice.key,)), ACCOUNT, START_MS)), "taken back"


async def test_who_forked_is_not_heard_from_there_on() -> None:
    alice, bob = author(1), author(2)
    alice.write(Vouch(ACCOUNT, 100, LATER, 0))
    other = alice.copy()
    alice.write(Vouch(ACCOUNT, 900, LATER, 0))
    alice.write(Advisory("clean", 0, 0, ACCOUNT, "", 2, LATER, b""))
    alice.write(Key(ADD, bob.key, b"", 0, b"", 0))
    other.write(Vouch(OTHER, 5, LATER, 0))
    evidence = fork_between(alice.entries[2], other.entries[2])
    assert evidence is not None
    for wires_first in (True, False):
        async with open_ledger(None, Identity.from_seed(bytes(32)), NET, now_ms=lambda: START_MS) as ledger:
            if wires_first:
                await ledger.add(alice.key, alice.wires)
                assert ledger.promises.vouched(alice.key, ACCOUNT, START_MS) == 900
            await ledger.convict(evidence)
            if not wires_first:
                await ledger.add(alice.key, alice.wires[:2])
                await ledger.add_branch(alice.key, alice.wires[2:])
            assert ledger.promises.vouched(alice.key, ACCOUNT, START_MS) == 100
            assert not ledger.promises.advisories
            assert ledger.forked_at(alice.key) == 3


async def test_a_fork_whose_entries_nobody_can_read_is_a_fork() -> None:
    """Data that no version understands, or that a later one will: the frames prove it."""
    alice = author(1)
    one, other = (make_entry(alice.identity, NET, 2, alice.head.id, START_MS, kind=255, data=(number,)) for number in (1, 2))
    evidence = fork_between(one, other)
    assert evidence is not None
    async with open_ledger(None, Identity.from_seed(bytes(32)), NET, now_ms=lambda: START_MS) as ledger:
        assert await ledger.convict(evidence)
        assert not await ledger.convict(evidence)
