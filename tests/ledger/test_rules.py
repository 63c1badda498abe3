"""Each rule of a chain, with an entry that keeps it and one that breaks it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings

from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.rules import Chain, replay
from meshgen.protocols.credit import MAX_HOLD_MS, Bill, Content, Genesis, Hold, Release, Voucher, make_entry
from tests.ledger.histories import World, worlds
from tests.ledger.people import (
    NET,
    OTHER_NET,
    RESULT,
    START_MS,
    Author,
    author,
    bill,
    claim,
    consent,
    job,
    receipt,
    release,
    voucher,
)

ALICE, BOB, CAROL = 1, 2, 3


def refuses(person: Author, content: Content, why: str, ts_ms: int = START_MS) -> None:
    chain = replay(NET, person.key, person.entries)
    before = (chain.head, dict(chain.holds), dict(chain.claims))
    with pytest.raises(InvalidEntry, match=why):
        chain.append(person.draft(content, ts_ms))
    assert (chain.head, chain.holds, chain.claims) == before


def accepts(person: Author, content: Content, ts_ms: int = START_MS) -> Chain:
    return replay(NET, person.key, [*person.entries, person.draft(content, ts_ms)])


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_what_honest_people_write_is_valid(world: World) -> None:
    for person in world.people:
        assert replay(NET, person.key, person.entries).head == person.head


def test_links() -> None:
    alice, bob = author(ALICE), author(BOB)
    alice.hold(bob, 10)
    chain = replay(NET, alice.key, alice.entries)
    last = alice.entries[-1]

    def made(seq: int, prev: bytes, ts_ms: int = START_MS, net: bytes = NET) -> None:
        data = Hold(job(1), bob.key, 5, START_MS + 60_000, 1, bob.head.id).data()
        chain.append(make_entry(alice.identity, net, seq, prev, ts_ms, kind=1, data=data))

    for seq, prev, ts_ms, net, why in (
        (4, last.id, START_MS, NET, "number 4 where 3 belongs"),
        (2, alice.entries[0].id, START_MS, NET, "number 2 where 3 belongs"),
        (3, alice.entries[0].id, START_MS, NET, "prev differs"),
        (3, last.id, START_MS - 1, NET, "dated before"),
        (3, last.id, START_MS, OTHER_NET, "another mesh"),
    ):
        with pytest.raises(InvalidEntry, match=why):
            made(seq, prev, ts_ms, net)
    made(3, last.id)
    with pytest.raises(InvalidEntry, match="another author"):
        chain.append(bob.entries[0])


def test_a_chain_begins_with_its_one_genesis() -> None:
    alice, bob = author(ALICE), author(BOB)
    refuses(alice, Genesis(b"", bytes(32), "again"), "one GENESIS")
    empty = Author(alice.identity)
    refuses(empty, Hold(job(0), bob.key, 1, START_MS + 1, 1, bob.head.id), "one GENESIS")


def test_hold() -> None:
    alice, bob = author(ALICE), author(BOB)

    def hold(payee: bytes, expires_ms: int) -> Hold:
        return Hold(job(0), payee, 0, expires_ms, 1, bob.head.id)

    accepts(alice, hold(bob.key, START_MS + 1))
    accepts(alice, hold(bob.key, START_MS + MAX_HOLD_MS))
    refuses(alice, hold(alice.key, START_MS + 1), "for oneself")
    refuses(alice, hold(bob.key, START_MS), "expires after it is made")
    refuses(alice, hold(bob.key, START_MS + MAX_HOLD_MS + 1), "expires after it is made")


def test_receipt() -> None:
    alice, bob, carol = author(ALICE), author(BOB), author(CAROL)
    hold = alice.hold(bob, 100)
    good = receipt(bob, hold, 100)
    assert not accepts(alice, good).holds
    accepts(alice, receipt(bob, hold, 0))
    refuses(alice, receipt(bob, hold, 101), "101 over a HOLD of 100")
    refuses(alice, replace(good, hold_id=job(9)), "no open HOLD")
    refuses(alice, replace(good, payee=carol.key), "another job or payee")
    refuses(alice, replace(good, job=job(9)), "another job or payee")
    for wrong in (
        replace(good, amount=99),
        replace(good, result=job(1)),
        replace(good, bill_sig=bytes(64)),
        replace(good, bill_sig=voucher(alice, hold, 100).sig),
        replace(good, bill_sig=consent(bob, hold).sig),
    ):
        refuses(alice, wrong, "not signed by its payee")
    accepts(alice, replace(good, units=7))


def test_a_bill_counts_for_one_mesh_hold_payer_and_payee() -> None:
    alice, bob, carol = author(ALICE), author(BOB), author(CAROL)
    hold = alice.hold(bob, 100)
    other_hold = alice.hold(bob, 100, number=1)
    good = receipt(bob, hold, 50)
    refuses(alice, replace(good, hold_id=other_hold.id, job=job(1)), "not signed by its payee")
    elsewhere = Bill(OTHER_NET, job(0), hold.id, alice.key, bob.key, 50, RESULT).sign(bob.identity)
    refuses(alice, replace(good, bill_sig=elsewhere.sig), "not signed by its payee")
    for_carol = Bill(NET, job(0), hold.id, carol.key, bob.key, 50, RESULT).sign(bob.identity)
    refuses(alice, replace(good, bill_sig=for_carol.sig), "not signed by its payee")
    accepts(alice, replace(good, bill_sig=bill(bob, hold, 50).sig))


def test_a_hold_is_closed_once() -> None:
    alice, bob = author(ALICE), author(BOB)
    hold = alice.hold(bob, 100)
    alice.write(receipt(bob, hold, 60))
    refuses(alice, receipt(bob, hold, 70), "no open HOLD")
    refuses(alice, release(hold, bob), "no open HOLD")
    other = alice.hold(bob, 100, number=1)
    alice.write(release(other, bob))
    refuses(alice, receipt(bob, other, 1), "no open HOLD")


def test_nobody_closes_anothers_hold() -> None:
    alice, bob, carol = author(ALICE), author(BOB), author(CAROL)
    hold = alice.hold(bob, 100)
    refuses(carol, receipt(bob, hold, 1), "no open HOLD")
    refuses(bob, release(hold, bob), "no open HOLD")


def test_release() -> None:
    alice, bob, carol = author(ALICE), author(BOB), author(CAROL)
    hold = alice.hold(bob, 100)
    expires_ms = Hold.from_entry(hold).expires_ms
    refuses(alice, release(hold), "needs the payee's consent", expires_ms - 1)
    accepts(alice, release(hold), expires_ms)
    accepts(alice, release(hold, bob))
    refuses(alice, Release(hold.id, 0, bytes(64)), "not signed by its payee")
    refuses(alice, Release(hold.id, 0, consent(carol, hold).sig), "not signed by its payee")
    refuses(alice, Release(hold.id, 0, bill(bob, hold, 1).sig), "not signed by its payee", expires_ms)


def test_claim() -> None:
    alice, bob, carol = author(ALICE), author(BOB), author(CAROL)
    hold = alice.hold(bob, 100)
    good = claim(alice, hold, 40)
    accepts(bob, good)
    refuses(bob, replace(good, amount=41), "not signed by its payer")
    refuses(bob, replace(good, payer=carol.key), "not signed by its payer")
    refuses(carol, good, "not signed by its payer")
    refuses(alice, good, "a CLAIM on oneself")
    refuses(bob, replace(good, voucher_sig=bill(bob, hold, 40).sig), "not signed by its payer")
    elsewhere = Voucher(OTHER_NET, hold.id, alice.key, bob.key, 40).sign(alice.identity)
    refuses(bob, replace(good, voucher_sig=elsewhere.sig), "not signed by its payer")


def test_a_later_claim_must_claim_more() -> None:
    alice, bob = author(ALICE), author(BOB)
    hold = alice.hold(bob, 100)
    bob.write(claim(alice, hold, 40))
    refuses(bob, claim(alice, hold, 40), "not above the one before")
    accepts(bob, claim(alice, hold, 41))


def test_an_overdraft_is_valid() -> None:
    alice, bob = author(ALICE), author(BOB)
    for number in range(3):
        hold = alice.hold(bob, 2**40, number)
        alice.write(receipt(bob, hold, 2**40))
    replay(NET, alice.key, alice.entries)


def test_kinds_of_later_versions_are_carried() -> None:
    alice, bob = author(ALICE), author(BOB)
    seq, prev = alice.head.seq + 1, alice.head.id
    alice.entries.append(make_entry(alice.identity, NET, seq, prev, START_MS, kind=4, data=(bob.key, 5, 0, b"")))
    alice.hold(bob, 1)
    assert replay(NET, alice.key, alice.entries).head.seq == 3


def test_embedded_signatures_can_be_trusted_when_reading_back() -> None:
    alice, bob = author(ALICE), author(BOB)
    hold = alice.hold(bob, 100)
    chain = replay(NET, alice.key, alice.entries)
    bad = replace(receipt(bob, hold, 5), bill_sig=hashlib.sha512(b"no signature").digest())
    chain.append(alice.draft(bad), embedded=False)
