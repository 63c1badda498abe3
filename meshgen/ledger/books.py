"""The fold kept up to date: one entry at a time, each at a cost that does not grow with the log."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from meshgen.ledger.fold import NOTHING, Balance, Deal, Edge, deal_of, edge_of, shares
from meshgen.protocols.credit import Entry


@dataclass(slots=True)
class Books:
    """Equal at any time to :mod:`meshgen.ledger.fold` over the same entries."""

    deals: dict[bytes, Deal] = field(default_factory=dict)
    balances: dict[bytes, Balance] = field(default_factory=dict)
    edges: dict[tuple[bytes, bytes], Edge] = field(default_factory=dict)
    """(payer, payee) -> what lies between them."""
    open: dict[tuple[bytes, bytes], dict[bytes, int]] = field(default_factory=dict)
    """(payer, payee) -> {hold id: expires_ms} of holds that are neither paid nor released."""
    unfolded: defaultdict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    """author -> its entries of kinds that this version carries without understanding them."""

    def add(self, entry: Entry) -> None:
        if entry.content is None:
            self.unfolded[entry.author] += 1
        part = deal_of(entry)
        if part is None:
            return
        before = self.deals.get(part.hold_id)
        after = before.join(part) if before else part
        if before:
            self._post(before, -1)
        self._post(after, 1)
        self._note_open(after)
        self.deals[part.hold_id] = after

    def balance(self, author: bytes) -> Balance:
        return self.balances.get(author, NOTHING)

    def edge(self, payer: bytes, payee: bytes) -> Edge:
        return self.edges.get((payer, payee), Edge())

    def open_holds(self, payer: bytes, payee: bytes, at_ms: int) -> int:
        """How many of them have not expired at ``at_ms``."""
        return sum(expires_ms > at_ms for expires_ms in self.open.get((payer, payee), {}).values())

    def _note_open(self, deal: Deal) -> None:
        if deal.terms is None:
            return
        sides = (deal.terms.payer, deal.terms.payee)
        if not (deal.paid or deal.released):
            self.open.setdefault(sides, {})[deal.hold_id] = deal.terms.expires_ms
        elif sides in self.open:
            self.open[sides].pop(deal.hold_id, None)

    def _post(self, deal: Deal, sign: int) -> None:
        for author, share in shares(deal):
            self.balances[author] = self.balance(author).plus(share, sign)
        if deal.terms:
            payer, payee = deal.terms.payer, deal.terms.payee
            self.edges[payer, payee] = self.edge(payer, payee).plus(edge_of(deal), sign)
