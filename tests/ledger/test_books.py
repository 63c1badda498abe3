"""The books equal the fold over the same entries at any time, and forget what is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from meshgen.ledger.books import RECENT, Books
from meshgen.ledger.fold import Balance, Deal, State, balances, edge_of, gather
from meshgen.ledger.forks import ForkEvidence
from meshgen.protocols.credit import Entry, Transfer
from tests.ledger.histories import World, worlds
from tests.ledger.people import Author, author, claim, receipt, release


class Shelf:
    """A log in memory that books recall deals from."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.books = Books(self.recall)

    def add(self, entry: Entry) -> None:
        self.books.add(entry)
        self.entries.append(entry)

    def recall(self, payer: bytes, hold_id: bytes, hold_seq: int) -> Deal | None:
        deal = gather(entry for entry in self.entries if entry.author == payer).get(hold_id)
        fits = deal and deal.terms and hold_seq in (0, deal.terms.seq)
        return replace(deal, claims=frozenset()) if deal and fits else None

    def convict(self, who: Author, seq: int) -> None:
        over = [deal for key, deal in gather(self.entries).items() if key not in self.books.deals]
        self.books.convict(who.key, seq, [deal for deal in over if deal.terms and deal.terms.payee == who.key])


def mixed(entries: Sequence[Entry], random: Random) -> list[Entry]:
    """Each chain in its order, the chains in any."""
    waiting: defaultdict[bytes, list[Entry]] = defaultdict(list)
    for entry in entries:
        waiting[entry.author].append(entry)
    chains, order = list(waiting.values()), list[Entry]()
    while chains := [chain for chain in chains if chain]:
        order.append(random.choice(chains).pop(0))
    return order


def check(books: Books, entries: Sequence[Entry], forks: Sequence[ForkEvidence] = ()) -> None:
    deals = gather(entries, forks)
    known = {key: balance for key, balance in books.balances.items() if balance != Balance()}
    assert known == {key: balance for key, balance in balances(deals).items() if balance != Balance()}
    for hold_id, deal in books.deals.items():
        assert deal == deals[hold_id]
    for deal in deals.values():
        over = deal.terms and (deal.paid or deal.released) and not deal.claims
        assert bool(over) == (deal.hold_id not in books.deals)
    for sides, edge in books.edges.items():
        between = [deal for deal in deals.values() if deal.terms and deal.terms[:2] == sides]
        assert edge == tuple(map(sum, zip(*map(edge_of, between), strict=True)))
        assert books.open_holds(*sides, 0) == sum(not (deal.paid or deal.released) for deal in between)


@given(worlds(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_books_equal_the_fold_after_every_entry(world: World, random: Random) -> None:
    shelf, entries = Shelf(), mixed(world.entries, random)
    for count, entry in enumerate(entries, 1):
        shelf.add(entry)
        shelf.books._recent.clear()  # what is recent saves a recall, and changes nothing
        if count % 7 == 0 or count == len(entries):
            check(shelf.books, entries[:count])


@given(worlds(), st.randoms(use_true_random=False), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_a_fork_that_is_proved_at_any_time_voids_the_same_deals(world: World, random: Random, first: int, second: int) -> None:
    """And one that is proved later to lie further back voids more."""
    shelf, entries, who = Shelf(), mixed(world.entries, random), world.people[0]
    moments = sorted(random.randrange(len(entries) + 1) for _ in range(2))
    for count, entry in enumerate(entries):
        for moment, seq in zip(moments, (first, second), strict=True):
            if moment == count:
                shelf.convict(who, seq)
        shelf.add(entry)
    for moment, seq in zip(moments, (first, second), strict=True):
        if moment == len(entries):
            shelf.convict(who, seq)
    check(shelf.books, entries, [ForkEvidence(who.key, seq, (b"", b""), (b"", b"")) for seq in (first, second)])


def test_what_is_over_is_forgotten_and_its_sums_stay() -> None:
    alice, bob, books = author(1), author(2), Books()
    for number in range(10):
        hold = alice.hold(bob, 100, number)
        alice.write(receipt(bob, hold, 60) if number % 2 else release(hold, bob))
    for entry in alice.entries:
        books.add(entry)
    assert not books.deals
    assert not books.open
    assert books.balance(alice.key) == Balance(spent=300)
    assert books.edge(alice.key, bob.key).owed == 300


def test_a_bounded_number_of_deals_that_are_over_is_at_hand() -> None:
    alice, bob, books = author(1), author(2), Books()
    hold = alice.hold(bob, 100)
    paid = alice.write(receipt(bob, hold, 60))
    for number in range(RECENT + 10):
        books.add(replace(hold, id=number.to_bytes(32)))
        books.add(replace(paid, content=replace(receipt(bob, hold, 60), hold_id=number.to_bytes(32))))
    assert books.deal(bytes(32)) is None
    newest = books.deal((RECENT + 9).to_bytes(32))
    assert newest is not None
    assert newest.state is State.PAID


def test_a_claim_for_what_is_over_finds_it_again() -> None:
    alice, bob, shelf = author(1), author(2), Shelf()
    hold = alice.hold(bob, 100)
    shelf.add(hold)
    shelf.add(alice.write(receipt(bob, hold, 30)))
    shelf.books._recent.clear()
    shelf.add(bob.write(claim(alice, hold, 40)))
    assert shelf.books.balance(bob.key).earned == 40
    assert shelf.books.deals[hold.id].state is State.PAID


def test_a_gift_moves_balances_and_no_edge() -> None:
    alice, bob, books = author(1), author(2), Books()
    books.add(alice.write(Transfer(bob.key, 70, 0, b"")))
    assert (books.balance(alice.key).spent, books.balance(bob.key).earned) == (70, 70)
    assert not books.edges


def test_whoever_watches_hears_of_what_changed_between_two() -> None:
    alice, bob, heard = author(1), author(2), list[tuple[bytes, bytes]]()
    books = Books(dealt=lambda payer, payee: heard.append((payer, payee)))
    hold = alice.hold(bob, 100)
    books.add(hold)
    assert not heard
    books.add(alice.write(receipt(bob, hold, 30)))
    assert heard == [(alice.key, bob.key)]
