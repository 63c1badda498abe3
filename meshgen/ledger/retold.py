"""Logs told entry by entry, chain after chain, judged and folded as they come; parts of chains as far as parts can be judged.

A chain that does not begin with its first entry, or whose payments were pruned, is *partial*: its signatures, links and notes are
checked, not whether its holds exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from meshgen.ledger.branches import counting
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.fold import Balance, Deal, Gift, balances, deal_of, gift_of, is_void
from meshgen.ledger.forks import ForkEvidence, convictions
from meshgen.ledger.rules import Chain
from meshgen.protocols.credit import GENESIS, NO_HEAD, Bill, Claim, Entry, Head, Hold, Receipt, Voucher


@dataclass(slots=True)
class Retold:
    """Forks and pruned chains are told first, then the entries of each chain in order, then those beside it, then ``finish``."""

    net: bytes
    entries: int = 0
    """The good ones."""
    chains: dict[bytes, Chain] = field(default_factory=dict)
    partial: set[bytes] = field(default_factory=set)
    pruned: dict[bytes, int] = field(default_factory=dict)
    """author -> up to where the payments in its chain are not kept."""
    forks: list[ForkEvidence] = field(default_factory=list)
    deals: dict[bytes, Deal] = field(default_factory=dict)
    gifts: set[Gift] = field(default_factory=set)
    _forked: dict[bytes, int] = field(default_factory=dict)
    _prefixes: dict[bytes, Chain] = field(default_factory=dict)  # of who forked: the chain up to the fork
    _beyond: dict[bytes, list[Entry]] = field(default_factory=dict)  # and its HOLDs from there on
    _beside: dict[bytes, list[Entry]] = field(default_factory=dict)

    def accuse(self, fork: ForkEvidence) -> None:
        self.forks.append(fork)
        self._forked = convictions(self.forks)

    def take(self, entry: Entry) -> None:
        """The next entry of its chain, validly signed. Raises InvalidEntry if it may not stand there."""
        chain = self.chains.setdefault(entry.author, Chain(self.net, entry.author))
        if entry.seq >= self._forked.get(entry.author, entry.seq + 1):
            self._pass_fork(chain, entry)
        if _may_jump(chain.head, entry.seq, self.pruned.get(entry.author, 0)):
            self.partial.add(entry.author)
            chain.head = Head(entry.seq - 1, entry.prev)
        if entry.author in self.partial:
            _follow(chain, entry)
        else:
            chain.append(entry)
        self.entries += 1
        self._fold(entry)

    def take_beside(self, entry: Entry) -> None:
        """An entry off the main chain of one who forked; what counts of it is known at the end. Raises InvalidEntry."""
        if entry.net != self.net:
            raise InvalidEntry("it belongs to another mesh")
        if entry.seq < self._forked.get(entry.author, entry.seq + 1):
            raise InvalidEntry("it lies off the main chain of one who is not proved to have forked by then")
        self._beside.setdefault(entry.author, []).append(entry)
        self.entries += 1

    def finish(self) -> None:
        """Fold what counts beside the main chains: see :mod:`meshgen.ledger.branches`."""
        for author, entries in self._beside.items():
            prefix = self._prefixes.get(author) or self.chains.get(author) or Chain(self.net, author)
            ids = {entry.id for entry in entries}
            for entry in counting(prefix, self._forked[author], [*self._beyond.get(author, ()), *entries]):
                if entry.id in ids:
                    self._fold(entry)
        self._beside = {}

    def balances(self) -> dict[bytes, Balance]:
        """What the good entries come to; the nets sum to zero."""
        forked = self._forked
        deals = {key: replace(deal, void=True) if is_void(deal.terms, forked) else deal for key, deal in self.deals.items()}
        return balances(deals, self.gifts)

    def _pass_fork(self, chain: Chain, entry: Entry) -> None:
        """Remember what is needed to judge what lies beside this chain."""
        if entry.author not in self._prefixes:
            self._prefixes[entry.author] = replace(chain, holds=dict(chain.holds), claims={})
        if isinstance(entry.content, Hold):
            self._beyond.setdefault(entry.author, []).append(entry)

    def _fold(self, entry: Entry) -> None:
        if part := deal_of(entry):
            known = self.deals.get(part.hold_id)
            self.deals[part.hold_id] = known.join(part) if known else part
        if gift := gift_of(entry):
            self.gifts.add(gift)


def _may_jump(head: Head, seq: int, pruned_upto: int) -> bool:
    """May this entry stand here though the one before it is not there?"""
    begins_late = head == NO_HEAD and seq > 1
    return begins_late or head.seq + 1 < seq <= pruned_upto + 1


def _follow(chain: Chain, entry: Entry) -> None:
    """What can be judged of an entry without those before it. Raises InvalidEntry."""
    if entry.net != chain.net:
        raise InvalidEntry("it belongs to another mesh")
    if (entry.seq, entry.prev) != (chain.head.seq + 1, chain.head.id):
        raise InvalidEntry(f"it does not follow entry {chain.head.seq} before it")
    if entry.ts_ms < chain.ts_ms or entry.kind == GENESIS:
        raise InvalidEntry("it may not stand here (its date, or a second GENESIS)")
    if not _note_holds(chain.net, entry):
        raise InvalidEntry("the bill or voucher inside is not signed by the other side")
    chain.head, chain.ts_ms = entry.head, entry.ts_ms


def _note_holds(net: bytes, entry: Entry) -> bool:
    match entry.content:
        case Receipt() as one:
            who = (entry.author, one.payee)
            return Bill(net, one.job, one.hold_id, *who, one.amount, one.result, one.bill_sig).is_signed()
        case Claim() as one:
            return Voucher(net, one.hold_id, one.payer, entry.author, one.amount, one.voucher_sig).is_signed()
    return True
