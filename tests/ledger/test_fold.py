"""The fold: what entries are worth depends neither on order, nor on repeats, nor on who merged them when; it sums to zero."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshgen.ledger.fold import Balance, Deal, State, balances, explain, gather
from tests.ledger.histories import World, worlds
from tests.ledger.people import START_MS, author, claim, receipt, release

LATER = START_MS + 60_000


def only(deals: dict[bytes, Deal]) -> Deal:
    (deal,) = deals.values()
    return deal


@given(worlds(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_repeats_and_merges_change_nothing(world: World, random: Random) -> None:
    entries = world.entries
    expected = gather(entries)
    shuffled = entries + random.choices(entries, k=len(entries) // 2)
    random.shuffle(shuffled)
    assert gather(shuffled) == expected
    cut = random.randrange(len(entries) + 1)
    left, right = gather(entries[:cut]), gather(entries[cut:])
    merged = {key: left[key].join(right[key]) if key in left and key in right else (left | right)[key] for key in left | right}
    assert merged == expected


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_nets_sum_to_zero_and_no_deal_exceeds_its_hold(world: World) -> None:
    deals = gather(world.entries)
    sums = balances(deals)
    assert sum(balance.net for balance in sums.values()) == 0
    assert all(deal.terms and 0 <= deal.value + deal.held <= deal.terms.amount for deal in deals.values())


@given(worlds())
@settings(max_examples=20, deadline=None)
def test_every_balance_opens_into_its_entries(world: World) -> None:
    deals = gather(world.entries)
    known = {entry.id for entry in world.entries}
    for key, balance in balances(deals).items():
        lines = explain(deals, key)
        assert sum(line.value for line in lines if line.payee == key) == balance.earned
        assert sum(line.value for line in lines if line.payer == key) == balance.spent
        assert all(known.issuperset(line.entries) for line in lines)


def test_a_hold_sets_aside_and_moves_nothing() -> None:
    alice, bob = author(1), author(2)
    alice.hold(bob, 100)
    sums = balances(gather(alice.entries))
    assert sums[alice.key] == Balance(held=100)
    assert sums[bob.key] == Balance()


@pytest.mark.parametrize(
    ("paid", "claimed", "released", "value", "state"),
    [
        (None, None, None, 0, State.OPEN),
        (70, None, None, 70, State.PAID),
        (70, 40, None, 70, State.PAID),
        (30, 40, None, 40, State.PAID),
        (None, 40, None, 40, State.CLAIMED),
        (None, 400, None, 100, State.CLAIMED),
        (None, None, "expired", 0, State.RELEASED),
        (None, 40, "expired", 40, State.CONTESTED),
        (None, 40, "consented", 0, State.RELEASED),
    ],
)
def test_value_and_state(paid: int | None, claimed: int | None, released: str | None, value: int, state: State) -> None:
    alice, bob = author(1), author(2)
    hold = alice.hold(bob, 100)
    if paid is not None:
        alice.write(receipt(bob, hold, paid))
    if claimed is not None:
        bob.write(claim(alice, hold, claimed))
    if released:
        alice.write(release(hold, bob if released == "consented" else None), LATER)
    deal = only(gather(alice.entries + bob.entries))
    assert (deal.value, deal.state) == (value, state)
    sums = balances({deal.hold_id: deal})
    assert sums[bob.key].earned == value == sums[alice.key].spent
    assert sums[alice.key].held == (100 - value if state in (State.OPEN, State.CLAIMED) else 0)
    assert sums[bob.key].contested == (value if state is State.CONTESTED else 0)


def test_a_claim_before_its_hold_is_known_counts_once_it_is() -> None:
    alice, bob = author(1), author(2)
    hold = alice.hold(bob, 100)
    bob.write(claim(alice, hold, 40))
    assert balances(gather(bob.entries)) == {}
    assert balances(gather([*bob.entries, hold]))[bob.key].earned == 40


def test_a_strangers_claim_on_a_hold_is_worth_nothing() -> None:
    alice, bob, carol = author(1), author(2), author(3)
    hold = alice.hold(bob, 100)
    stolen = carol.write(claim(alice, hold, 50))
    deal = only(gather([hold, stolen]))
    assert (deal.value, deal.state) == (0, State.OPEN)


def test_every_interleaving_of_two_chains_comes_to_the_same() -> None:
    """Exhaustively: each order in which a third peer can hear of one contested job, each entry told twice."""
    alice, bob = author(1), author(2)
    hold = alice.hold(bob, 100)
    alice.write(release(hold), LATER)
    bob.write(claim(alice, hold, 40))
    bob.write(claim(alice, hold, 60))
    entries = alice.entries + bob.entries
    expected = gather(entries)
    for order in permutations(entries):
        assert gather((*order, *order)) == expected
    assert only(expected).value == 60
