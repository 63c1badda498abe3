"""Standing as it follows from a log: earned over three hops, vouched for, used up once, shared by the devices of an account."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.identity import Identity
from meshgen.protocols.credit import ADD, RETIRE, Genesis, Key, Vouch
from tests.ledger.known import Known
from tests.ledger.people import EXPIRES_MS, START_MS, Author, author


def known_to(me: Author, *others: Author) -> Known:
    known = Known(me)
    for other in others:
        known.take(*other.entries)
    return known


def people(count: int) -> list[Author]:
    return [author(number) for number in range(count)]


def device_of(owner: Author, name: str = "device", budget: int = 0) -> Author:
    """A second key of the owner's account; both entries that it takes are written."""
    device = Author(Identity.from_seed(name.encode().ljust(32)[:32]))
    device.write(Genesis(owner.entries[0].id, bytes(32), name))
    owner.write(Key(ADD, device.key, b"", 0, b"", budget))
    return device


def test_work_for_me_is_credit_here_until_it_is_used() -> None:
    me, alice = people(2)
    known = known_to(me, alice)
    assert known.credit(alice) == 0
    known.works(alice, me, 100)
    assert known.credit(alice) == 100
    known.works(me, alice, 30)
    assert known.credit(alice) == 70
    known.works(me, alice, 100)
    assert (known.credit(alice), known.standings.due(alice.key, START_MS)) == (0, 30)
    known.works(alice, me, 50)
    assert known.credit(alice) == 20, "what it had beyond its credit is due first"


def test_a_friend_of_a_friend_has_the_credit_of_the_path() -> None:
    me, friend, his_friend, third, fourth = people(5)
    known = known_to(me, friend, his_friend, third, fourth)
    known.works(friend, me, 100)
    known.works(his_friend, friend, 60)
    known.works(third, his_friend, 40)
    known.works(fourth, third, 40)
    assert [known.credit(one) for one in (friend, his_friend, third, fourth)] == [100, 60, 40, 0]
    known.works(me, third, 40)
    assert [known.credit(one) for one in (friend, his_friend, third)] == [60, 20, 0], "the path is charged, hop by hop"


def test_credit_between_others_is_what_is_left_after_what_came_back() -> None:
    me, friend, other = people(3)
    known = known_to(me, friend, other)
    known.works(friend, me, 100)
    known.works(other, friend, 50)
    known.works(friend, other, 50)
    assert known.credit(other) == 0, "they are quits: the friend's credit is the friend's"


def test_what_is_reserved_is_charged_while_the_job_lasts() -> None:
    me, attacker, first, second = people(4)
    known = known_to(me, attacker, first, second)
    known.works(attacker, me, 100)
    for sybil in (first, second):
        known.works(sybil, attacker, 10**6)
    assert known.credit(first) == known.credit(second) == 100
    with known.standings.reserved(first.key, 80):
        assert [known.credit(one) for one in (first, second, attacker)] == [20, 20, 20]
        with known.standings.reserved(second.key, 80):
            assert [known.credit(one) for one in (first, second, attacker)] == [0, 0, 0]
        assert known.credit(second) == 20
        known.works(me, first, 60)
    assert [known.credit(one) for one in (first, second)] == [40, 40]


def test_a_vouch_lends_credit_until_it_expires() -> None:
    me, friend, newcomer = people(3)
    known = known_to(me, friend, newcomer)
    known.works(friend, me, 100)
    known.take(friend.write(Vouch(newcomer.entries[0].id, 30, EXPIRES_MS, 0)))
    assert known.credit(newcomer) == 30
    known.take(friend.write(Vouch(newcomer.entries[0].id, 250, EXPIRES_MS, 0)))
    assert known.credit(newcomer) == 100, "nobody lends more than he has"
    known.now_ms = EXPIRES_MS
    assert known.credit(newcomer) == 0


def test_a_vouch_is_taken_back_and_the_earlier_word_does_not_return() -> None:
    me, friend, newcomer = people(3)
    known = known_to(me, friend, newcomer)
    known.works(friend, me, 100)
    given, taken = (friend.write(Vouch(newcomer.entries[0].id, 30, EXPIRES_MS, revoke)) for revoke in (0, 1))
    known.take(taken)
    assert known.credit(newcomer) == 0
    known.take(given)
    assert known.credit(newcomer) == 0


def test_my_own_vouch_counts_as_what_i_owe() -> None:
    me, newcomer = people(2)
    known = known_to(me, newcomer)
    known.take(me.write(Vouch(newcomer.entries[0].id, 30, EXPIRES_MS, 0)))
    assert known.credit(newcomer) == 30
    known.works(me, newcomer, 30)
    assert known.credit(newcomer) == 0


def test_a_vouch_waits_for_its_account_to_be_known() -> None:
    me, newcomer = people(2)
    known = known_to(me)
    known.take(me.write(Vouch(newcomer.entries[0].id, 30, EXPIRES_MS, 0)))
    assert known.credit(newcomer) == 0
    known.take(*newcomer.entries)
    assert known.credit(newcomer) == 30


def test_devices_of_one_account_share_its_standing() -> None:
    me, owner, friend = people(3)
    known = known_to(me, owner, friend)
    device = device_of(owner)
    known.take(*device.entries)
    known.works(owner, me, 100)
    known.works(device, friend, 50)
    known.works(friend, me, 20)
    assert [known.credit(one) for one in (owner, device)] == [100, 20], "not let in yet"
    known.take(owner.entries[-1])
    assert [known.credit(one) for one in (owner, device)] == [120, 120]
    known.works(me, device, 110)
    assert [known.credit(one) for one in (owner, device)] == [10, 10]
    assert not known.standings.is_own(device.key)


def test_what_a_device_had_before_it_joined_is_charged_to_the_account() -> None:
    me, owner = people(2)
    known = known_to(me, owner)
    device = device_of(owner)
    known.take(*device.entries)
    known.works(owner, me, 100)
    known.works(me, device, 30)
    assert known.credit(owner) == 100
    known.take(owner.entries[-1])
    assert known.credit(owner) == 70


def test_my_account_pays_together_and_its_devices_are_my_own() -> None:
    me, worker = people(2)
    known = known_to(me, worker)
    device = device_of(me)
    known.works(worker, device, 100)
    known.works(me, worker, 30)
    assert (known.credit(worker), known.standings.is_own(device.key)) == (0, False)
    known.take(device.entries[0], me.entries[-1])
    assert (known.credit(worker), known.standings.is_own(device.key)) == (70, True)


def test_devices_without_deals_belong_to_their_accounts_from_the_first_question_on() -> None:
    me, owner = people(2)
    mine, his = device_of(me, "mine"), device_of(owner, "his")
    me.write(Vouch(owner.entries[0].id, 30, EXPIRES_MS, 0))
    known = known_to(me, owner, mine, his)
    assert known.credit(his) == 30
    assert known.standings.is_own(mine.key)


def test_i_join_the_account_of_another() -> None:
    me, founder, worker = people(3)
    me = Author(me.identity)
    me.write(Genesis(founder.entries[0].id, bytes(32), "mine"))
    known = known_to(me, founder, worker)
    known.works(worker, founder, 100)
    known.works(me, worker, 30)
    assert known.credit(worker) == 0
    known.take(founder.write(Key(ADD, me.key, b"", 0, b"", 0)))
    assert (known.credit(worker), known.standings.is_own(founder.key)) == (70, True)


def test_a_device_that_was_never_rightly_added_leaves_the_account() -> None:
    """The one who added it was retired as of before that."""
    me, owner = people(2)
    known = known_to(me, owner)
    first = device_of(owner, "first")
    seq_before = first.head
    second = Author(Identity.from_seed(b"second".ljust(32)))
    second.write(Genesis(owner.entries[0].id, bytes(32), "second"))
    first.write(Key(ADD, second.key, b"", 0, b"", 0))
    known.take(owner.entries[-1], *first.entries, *second.entries)
    known.works(owner, me, 100)
    assert known.credit(second) == 100
    known.take(owner.write(Key(RETIRE, first.key, b"", seq_before.seq, seq_before.id, 0)))
    assert (known.credit(second), known.credit(first), known.credit(owner)) == (0, 100, 100)


def test_every_path_opens_into_its_entries() -> None:
    me, friend, other = people(3)
    known = known_to(me, friend, other)
    known.works(friend, me, 100)
    known.works(other, friend, 60)
    vouch = friend.write(Vouch(other.entries[0].id, 5, EXPIRES_MS, 0))
    known.take(vouch)
    known.works(me, other, 20)
    (path,) = known.standings.explain(other.key, known.now_ms, known.between)
    first, second = path.hops
    assert path.amount == 45
    assert (first.debtor, first.creditor, first.owed, first.vouched, first.used) == (me.key, friend.key, 100, 0, 20)
    assert (second.debtor, second.creditor, second.owed, second.vouched, second.used) == (friend.key, other.key, 60, 5, 20)
    assert first.entries == tuple(entry.id for entry in me.entries[1:3])
    assert second.entries == (*(entry.id for entry in friend.entries[1:3]), vouch.id)
    (used,) = known.standings.explain(other.key, known.now_ms, known.between, charged=True)
    assert (used.amount, used.hops) == (20, path.hops)


PEOPLE = 5
_deal = st.tuples(st.integers(0, PEOPLE - 1), st.integers(0, PEOPLE - 1), st.integers(1, 50), st.booleans())


@given(st.lists(_deal.filter(lambda deal: deal[0] != deal[1]), max_size=20))
def test_asked_at_any_time_or_only_at_the_end_nobody_gets_more_than_i_owe(deals: list[tuple[int, int, int, bool]]) -> None:
    everybody = people(PEOPLE)
    known = known_to(*everybody)
    served_by_credit = 0
    for worker, payer, wanted, asks in deals:
        amount = min(wanted, known.credit(everybody[payer])) if asks and worker == 0 else wanted
        served_by_credit += amount if asks and worker == 0 else 0
        if amount:
            known.works(everybody[worker], everybody[payer], amount)
    owed = sum(edge.owed for (payer, _), edge in known.books.edges.items() if payer == everybody[0].key)
    assert served_by_credit <= owed
    again = Known(everybody[0])
    again.take(*(entry for one in everybody[1:] for entry in one.entries))
    for known_by in (known, again):
        assert all(0 <= known_by.credit(one) <= owed for one in everybody[1:])


def test_nothing_is_noted_before_the_first_question() -> None:
    me, alice = people(2)
    known = known_to(me, alice)
    known.works(alice, me, 100)
    assert known.standings.neighbourhood.graph.left(me.key, alice.key) == 0
    assert known.standings.credit(alice.key, START_MS) == 100


@pytest.mark.parametrize("slice_of", [1, 3, 1000])
def test_a_large_log_is_taken_in_by_slices(slice_of: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshgen.ledger.standings.SLICE", slice_of)
    me, *others = people(5)
    known = known_to(me, *others)
    for amount, (worker, payer) in enumerate(permutations((me, *others), 2), 10):
        known.works(worker, payer, amount)
    again = Known(me)
    again.take(*(entry for one in others for entry in one.entries))
    rounds = 1
    while again.standings.prepare(START_MS):
        rounds += 1
    assert rounds >= 20 / slice_of
    assert [again.credit(one) for one in others] == [known.credit(one) for one in others]


def test_a_question_does_not_wait_for_the_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshgen.ledger.standings.SLICE", 1)
    me, alice, bob = people(3)
    known = known_to(me, alice, bob)
    known.works(alice, me, 100)
    known.works(bob, alice, 50)
    assert known.standings.prepare(START_MS)
    known.works(me, bob, 10)
    assert [known.credit(one) for one in (alice, bob)] == [90, 40]
    assert not known.standings.prepare(START_MS)
