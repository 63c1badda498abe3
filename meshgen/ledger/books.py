"""The fold kept up to date: one entry at a time, at a cost and in a memory that do not grow with the log.

In memory are the sums, the deals that are open, and those with a claim. A deal that is closed without a claim is over: its sums
stay, and should a CLAIM come for it after all, it is recalled from the log itself.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from meshgen.ledger.fold import Balance, Deal, Edge, Gift, State, deal_of, gift_of, is_void
from meshgen.protocols.codec import MAX_UINT
from meshgen.protocols.credit import Entry

RECENT = 4096
"""So many deals that are over are kept for questions that come late."""

Recall = Callable[[bytes, bytes, int], Deal | None]
"""(payer, hold id, the HOLD's number or 0 if it is not known) -> what the payer's entries that are in these books say of the
HOLD, without claims; None if it is not among them."""


def no_recall(_payer: bytes, _hold_id: bytes, _hold_seq: int) -> Deal | None:
    """Of books without a log behind them."""
    return None


def _unheard(_payer: bytes, _payee: bytes) -> None:
    pass


class Worth(NamedTuple):
    """What one deal adds to the sums, in milli-kudos."""

    value: int = 0
    held: int = 0
    contested: int = 0
    claimed: int = 0


@dataclass(slots=True)
class Books:
    """Equal at any time to :mod:`meshgen.ledger.fold` over the same entries, each of which is added once.

    Entries of one chain come in their order; those of different chains, and of branches, in any.
    """

    recall: Recall = no_recall
    dealt: Callable[[bytes, bytes], None] = _unheard
    """Told (payer, payee) when what is owed between them has changed."""
    deals: dict[bytes, Deal] = field(default_factory=dict)
    """Open ones, those with a claim, and those whose HOLD is not known yet."""
    sums: dict[bytes, list[int]] = field(default_factory=dict)
    """author -> earned, spent, held, contested."""
    edges: dict[tuple[bytes, bytes], Edge] = field(default_factory=dict)
    """(payer, payee) -> what lies between them."""
    open: defaultdict[tuple[bytes, bytes], dict[bytes, int]] = field(default_factory=lambda: defaultdict(dict))
    """(payer, payee) -> {hold id: expires_ms} of holds that are neither paid nor released."""
    unfolded: defaultdict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    """author -> its entries of kinds that this version carries without understanding them."""
    forked: dict[bytes, int] = field(default_factory=dict)
    """author -> from which of its entries on it earns nothing more."""
    _recent: OrderedDict[bytes, Deal] = field(default_factory=OrderedDict)

    def add(self, entry: Entry) -> None:
        if part := deal_of(entry):
            self.join(part, entry.author)
        elif gift := gift_of(entry):
            self.give(gift)
        elif entry.content is None:
            self.unfolded[entry.author] += 1

    def join(self, part: Deal, author: bytes) -> None:
        """Take in what ``author`` says of a deal."""
        before = self.deals.get(part.hold_id) or self._recalled(part, author)
        after = self._voided(before.join(part) if before else part)
        self._post(before, after)
        self.keep(after)

    def give(self, gift: Gift) -> None:
        self._sums(gift.payer)[1] += gift.amount
        self._sums(gift.payee)[0] += gift.amount

    def move(self, payer: bytes, payee: bytes, change: Worth) -> None:
        """A deal between these two has come to so much more."""
        value, held, contested, claimed = change
        debtor = self._sums(payer)
        debtor[2] += held
        known = self.edges.get((payer, payee))
        if known is None:
            known = self.edges[payer, payee] = _NO_EDGE
        if not (value or contested or claimed):
            return
        creditor = self._sums(payee)
        creditor[0] += value
        creditor[3] += contested
        debtor[1] += value
        debtor[3] += contested
        self.edges[payer, payee] = Edge(known.owed + value, known.claimed + claimed)
        if value:
            self.dealt(payer, payee)

    def convict(self, author: bytes, seq: int, closed: Iterable[Deal]) -> None:
        """``author`` forked at ``seq``. ``closed``: its deals as payee that are not in memory, from the log."""
        known = self.forked.get(author, MAX_UINT)
        if seq >= known:
            return
        self.forked[author] = seq
        waiting = [deal for deal in self.deals.values() if deal.terms and deal.terms.payee == author]
        for deal in (*waiting, *closed):
            if not deal.void and is_void(deal.terms, self.forked) and not is_void(deal.terms, {author: known}):
                void = self._voided(deal)
                self._post(deal, void)
                if deal.hold_id in self.deals:
                    self.deals[deal.hold_id] = void
        self._recent.clear()

    def forget(self, payer: bytes, upto_seq: int) -> None:
        """The payer's deals that are over and were made up to there can't be read from the log any more."""
        for deal in list(self._recent.values()):
            if deal.terms and deal.terms.payer == payer and deal.terms.seq <= upto_seq:
                del self._recent[deal.hold_id]

    # -- questions

    def deal(self, hold_id: bytes) -> Deal | None:
        """If it is in memory: always while it is open."""
        return self.deals.get(hold_id) or self._recent.get(hold_id)

    def balance(self, author: bytes) -> Balance:
        return Balance(*self.sums.get(author, ()))

    @property
    def balances(self) -> dict[bytes, Balance]:
        return {author: Balance(*sums) for author, sums in self.sums.items()}

    def edge(self, payer: bytes, payee: bytes) -> Edge:
        return self.edges.get((payer, payee), Edge())

    def open_holds(self, payer: bytes, payee: bytes, at_ms: int) -> int:
        """How many of them have not expired at ``at_ms``."""
        return sum(expires_ms > at_ms for expires_ms in self.open.get((payer, payee), {}).values())

    # -- inside

    def _recalled(self, part: Deal, author: bytes) -> Deal | None:
        """A deal that is over and of which more is said now. A HOLD is the first word of its deal."""
        if part.terms:
            return None
        deal = self._recent.get(part.hold_id)
        if deal is None and part.claims:
            (claim,) = part.claims
            deal = self.recall(claim.payer, part.hold_id, claim.hold_seq)
        elif deal is None:
            deal = self.recall(author, part.hold_id, 0)
        return self._voided(deal) if deal else None

    def complete(self, deals: Mapping[bytes, Deal], payer: bytes) -> dict[bytes, Deal]:
        """A payer's deals as the log has them, with what is known of them beside it: claims, and that they are void."""
        kept = {hold_id: deal for hold_id, deal in self.deals.items() if deal.terms and deal.terms.payer == payer}
        return {hold_id: self._voided(deal) for hold_id, deal in {**deals, **kept}.items()}

    def _voided(self, deal: Deal) -> Deal:
        return replace(deal, void=True) if self.forked and not deal.void and is_void(deal.terms, self.forked) else deal

    def _post(self, before: Deal | None, after: Deal) -> None:
        if after.terms:
            new, old = worth(after), worth(before)
            change = Worth(new[0] - old[0], new[1] - old[1], new[2] - old[2], new[3] - old[3]) if old is not _WORTHLESS else new
            self.move(after.terms.payer, after.terms.payee, change)

    def keep(self, deal: Deal) -> None:
        """In memory, if more must be expected of it. Its sums are not touched."""
        closed = bool(deal.paid or deal.released)
        if deal.terms:
            self._note_open(deal, deal.terms[:2], closed)
        if deal.terms and closed and not deal.claims:
            self.deals.pop(deal.hold_id, None)
            self._recent[deal.hold_id] = deal
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)
        else:
            self.deals[deal.hold_id] = deal
            self._recent.pop(deal.hold_id, None)

    def _note_open(self, deal: Deal, sides: tuple[bytes, bytes], closed: bool) -> None:
        if not closed and deal.terms:
            self.open[sides][deal.hold_id] = deal.terms.expires_ms
        elif (between := self.open.get(sides)) is not None:
            between.pop(deal.hold_id, None)
            if not between:
                del self.open[sides]

    def _sums(self, author: bytes) -> list[int]:
        sums = self.sums.get(author)
        if sums is None:
            sums = self.sums[author] = [0, 0, 0, 0]
        return sums


_NO_EDGE = Edge()
_WORTHLESS = Worth()


def worth(deal: Deal | None) -> Worth:
    if deal is None or deal.terms is None:
        return _WORTHLESS
    paid = deal.paid
    if not deal.claims:  # most deals, without asking for everything
        if paid is None:
            return _WORTHLESS if deal.released else Worth(0, deal.terms.amount)
        return _WORTHLESS if deal.void else Worth(min(paid.amount, deal.terms.amount))
    value = deal.value
    return Worth(value, deal.held, value if deal.state is State.CONTESTED else 0, 0 if paid else value)
