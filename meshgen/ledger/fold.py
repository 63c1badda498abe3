"""What valid entries are worth, in whatever order they come: each says something of one deal, and the parts are joined.

A :class:`Deal` is all that is known of one HOLD. ``join`` is a join in the sense of lattices (commutative, associative,
idempotent), so merging two logs is set union. From the deals everything else follows, and :func:`balances` sums to zero by
construction: what a deal costs its payer is what it brings its payee. A TRANSFER is a :class:`Gift`; their set is joined by
union. Who was proved to have forked earns nothing by deals made with it from then on: these are *void*.

This module is the reference. :mod:`meshgen.ledger.books` computes the same in steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain
from typing import NamedTuple, TypeVar

from meshgen.ledger.forks import ForkEvidence, convictions
from meshgen.protocols.credit import Claim, Entry, Hold, Receipt, Release, Transfer


class State(StrEnum):
    OPEN = "open"
    PAID = "paid"  # by a RECEIPT
    CLAIMED = "claimed"  # by a CLAIM that the payer has not answered
    RELEASED = "released"  # nothing is owed
    CONTESTED = "contested"  # released without the payee's consent, and claimed
    VOID = "void"  # made with a payee whose chain had forked by then: nothing is owed


class Terms(NamedTuple):
    """What a HOLD says."""

    payer: bytes
    payee: bytes
    amount: int
    expires_ms: int
    job: bytes
    seq: int
    payee_seq: int
    """How far the payee's chain went when this was made."""


class Paid(NamedTuple):
    """What a RECEIPT says."""

    amount: int
    entry_id: bytes


class Released(NamedTuple):
    """What a RELEASE says; with consent it is worth more."""

    consented: bool
    entry_id: bytes


class Claimed(NamedTuple):
    """What a CLAIM says. It counts if payer, payee and number are those of the HOLD."""

    amount: int
    entry_id: bytes
    payer: bytes
    payee: bytes
    hold_seq: int


T = TypeVar("T", Terms, Paid, Released)


@dataclass(frozen=True, slots=True)
class Deal:
    """All that is known of one HOLD; ``terms`` is None while only others' entries about it are known."""

    hold_id: bytes
    terms: Terms | None = None
    paid: Paid | None = None
    released: Released | None = None
    claims: frozenset[Claimed] = frozenset()
    void: bool = False

    def join(self, other: Deal) -> Deal:
        return Deal(
            self.hold_id,
            _greater(self.terms, other.terms),
            _greater(self.paid, other.paid),
            _greater(self.released, other.released),
            self.claims | other.claims,
            self.void or other.void,
        )

    @property
    def claim(self) -> Claimed | None:
        """The best claim that counts."""
        if self.terms is None or not self.claims or (self.released and self.released.consented):
            return None
        about = (self.terms.payer, self.terms.payee, self.terms.seq)
        return max((claim for claim in self.claims if (claim.payer, claim.payee, claim.hold_seq) == about), default=None)

    @property
    def value(self) -> int:
        """What the payer owes the payee, in milli-kudos: max(RECEIPT, CLAIM) <= HOLD."""
        if self.terms is None or self.void:
            return 0
        claim = self.claim
        return min(self.terms.amount, max(self.paid.amount if self.paid else 0, claim.amount if claim else 0))

    @property
    def held(self) -> int:
        """What is set aside beyond the value, until the payer's RECEIPT or RELEASE."""
        if self.terms is None or self.paid or self.released:
            return 0
        return self.terms.amount - self.value

    @property
    def state(self) -> State:
        claim = self.claim
        if self.void:
            return State.VOID
        if self.paid:
            return State.PAID
        if self.released:
            return State.CONTESTED if claim else State.RELEASED
        return State.CLAIMED if claim else State.OPEN

    def entry_ids(self) -> tuple[bytes, ...]:
        """The entries that make this deal, the HOLD first."""
        others = (self.paid, self.released, *sorted(self.claims))
        return (self.hold_id, *(part.entry_id for part in others if part is not None))


@dataclass(frozen=True, slots=True)
class Balance:
    """One author's sums over all deals, in milli-kudos."""

    earned: int = 0
    spent: int = 0
    held: int = 0
    """Set aside in own open holds: neither spent nor free."""
    contested: int = 0
    """The part of earned and spent that its payer denies."""

    @property
    def net(self) -> int:
        return self.earned - self.spent

    def plus(self, other: Balance, sign: int = 1) -> Balance:
        return Balance(
            self.earned + sign * other.earned,
            self.spent + sign * other.spent,
            self.held + sign * other.held,
            self.contested + sign * other.contested,
        )


NOTHING = Balance()


class Gift(NamedTuple):
    """What a TRANSFER says."""

    entry_id: bytes
    payer: bytes
    payee: bytes
    amount: int

    def shares(self) -> tuple[tuple[bytes, Balance], ...]:
        return (self.payer, Balance(spent=self.amount)), (self.payee, Balance(earned=self.amount))


class Edge(NamedTuple):
    """What lies between one payer and one payee, over all their deals."""

    owed: int = 0
    """Milli-kudos for work done."""
    claimed: int = 0
    """The part of it that the payee had to CLAIM, as no RECEIPT came."""

    def plus(self, other: Edge, sign: int = 1) -> Edge:
        return Edge(*(mine + sign * theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Line:
    """One deal in the explanation of a balance."""

    payer: bytes
    payee: bytes
    amount: int
    """What was held."""
    value: int
    """What it came to, in milli-kudos; positive, whoever asks."""
    state: State
    entries: tuple[bytes, ...]
    """The ids of the entries that say so, the HOLD first."""


def deal_of(entry: Entry) -> Deal | None:
    """What one valid entry says of a deal; None if it says nothing of any."""
    match entry.content:
        case Hold() as hold:
            terms = Terms(entry.author, hold.payee, hold.amount, hold.expires_ms, hold.job, entry.seq, hold.payee_seq)
            return Deal(entry.id, terms=terms)
        case Receipt() as receipt:
            return Deal(receipt.hold_id, paid=Paid(receipt.amount, entry.id))
        case Release() as release:
            return Deal(release.hold_id, released=Released(bool(release.payee_sig), entry.id))
        case Claim() as claim:
            said = Claimed(claim.amount, entry.id, claim.payer, entry.author, claim.hold_seq)
            return Deal(claim.hold_id, claims=frozenset((said,)))
    return None


def gift_of(entry: Entry) -> Gift | None:
    """What one valid entry gives away."""
    match entry.content:
        case Transfer() as transfer:
            return Gift(entry.id, entry.author, transfer.payee, transfer.amount)
    return None


def is_void(terms: Terms | None, forked: Mapping[bytes, int]) -> bool:
    """Was this made with a payee who had forked by then? ``forked`` is :func:`meshgen.ledger.forks.convictions`."""
    return terms is not None and terms.payee in forked and terms.payee_seq >= forked[terms.payee]


def gather(entries: Iterable[Entry], forks: Iterable[ForkEvidence] = ()) -> dict[bytes, Deal]:
    """hold id -> deal, for valid entries of any authors in any order; of who forked, from either branch."""
    deals: dict[bytes, Deal] = {}
    for entry in entries:
        if part := deal_of(entry):
            known = deals.get(part.hold_id)
            deals[part.hold_id] = known.join(part) if known else part
    forked = convictions(forks)
    return {hold_id: replace(deal, void=True) if is_void(deal.terms, forked) else deal for hold_id, deal in deals.items()}


def gifts(entries: Iterable[Entry]) -> frozenset[Gift]:
    return frozenset(gift for gift in map(gift_of, entries) if gift)


def shares(deal: Deal) -> tuple[tuple[bytes, Balance], ...]:
    """What one deal adds to its payer's and its payee's balance."""
    if deal.terms is None:
        return ()
    value = deal.value
    contested = value if deal.state is State.CONTESTED else 0
    payer = Balance(spent=value, held=deal.held, contested=contested)
    return ((deal.terms.payer, payer), (deal.terms.payee, Balance(earned=value, contested=contested)))


def edge_of(deal: Deal) -> Edge:
    """What one deal adds to the edge between its payer and its payee."""
    return Edge(deal.value, 0 if deal.paid else deal.value)


def balances(deals: Mapping[bytes, Deal], given: Iterable[Gift] = ()) -> dict[bytes, Balance]:
    """Every author that a deal or gift names -> its balance. The nets sum to zero."""
    sums: defaultdict[bytes, Balance] = defaultdict(Balance)
    for part in chain(map(shares, deals.values()), map(Gift.shares, given)):
        for author, share in part:
            sums[author] = sums[author].plus(share)
    return dict(sums)


def explain(deals: Mapping[bytes, Deal], author: bytes) -> list[Line]:
    """The deals behind one author's balance, in the order in which their payers made them."""
    mine = [deal for deal in deals.values() if deal.terms and author in (deal.terms.payer, deal.terms.payee)]
    mine.sort(key=lambda deal: (deal.terms.payer, deal.terms.seq) if deal.terms else (b"", 0))
    return [
        Line(deal.terms.payer, deal.terms.payee, deal.terms.amount, deal.value, deal.state, deal.entry_ids())
        for deal in mine
        if deal.terms
    ]


def _greater(one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
