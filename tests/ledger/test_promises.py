"""Vouches and advisories: the latest word counts while it lasts, in whatever order the words come."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from meshgen.ledger.promises import Promises
from meshgen.protocols.credit import Advisory, Vouch
from tests.ledger.people import START_MS, author, job

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
