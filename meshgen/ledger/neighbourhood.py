"""The credit graph of accounts as the log shows it: who owes whom for work, and who answers for whom.

Its nodes are accounts, each under its founder's key, so that a peer that has one device stands under its own peer id. An edge
a -> b is what a's devices owe b's for work, less what b's owe a's, and what a's vouches for b add. What I owe is not netted:
what others had from me is charged along paths (:mod:`meshgen.ledger.standings`), of which the one back is the first.

Nothing is copied here: the maps are the ledger's own, which tells what has changed; the graph is brought up to date when asked.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from heapq import heappop, heappush

from meshgen.ledger.accounts import Accounts
from meshgen.ledger.flow import CreditGraph
from meshgen.ledger.fold import Edge
from meshgen.ledger.promises import VouchWord

Pair = tuple[bytes, bytes]


class Neighbourhood:
    """``edges`` by (payer, payee), ``vouches`` by (author, account). ``update`` before anything is asked of ``graph``."""

    def __init__(self, mine: bytes, edges: Mapping[Pair, Edge], vouches: Mapping[Pair, VouchWord], accounts: Accounts) -> None:
        self.graph = CreditGraph()
        self._mine = mine
        self._edges = edges
        self._vouches = vouches
        self._accounts = accounts
        self._asked = False  # before the first question nothing is noted: all is new to it
        self._deals: dict[Pair, None] = {}  # pairs of keys whose edge changed
        self._spoken: dict[Pair, None] = {}  # vouches that changed
        self._joined: dict[bytes, None] = {}  # authors who said something of their account
        self._node: dict[bytes, bytes] = {}  # key -> founder, where they differ
        self._keys: dict[bytes, tuple[bytes, ...]] = {}  # founder -> keys, where there are several
        self._lines: dict[Pair, dict[Pair, int]] = {}  # pair of nodes -> {vouch: limit} of those that count now
        self._placed: dict[Pair, Pair] = {}  # vouch -> the pair of nodes at which it counts
        self._waiting: dict[bytes, dict[Pair, None]] = {}  # account that is not known yet -> vouches for it
        self._expiries: list[tuple[int, Pair]] = []

    # -- what the ledger says, once its maps say so

    def dealt(self, payer: bytes, payee: bytes) -> None:
        """What lies between these two keys has changed."""
        if self._asked:
            self._deals[payer, payee] = None

    def vouching(self, author: bytes, account: bytes) -> None:
        """There is a later word of this author for this account, or none any more."""
        if self._asked:
            self._spoken[author, account] = None

    def joining(self, author: bytes) -> None:
        """There is a GENESIS or a KEY of this author's, or some count no more."""
        if self._asked:
            self._joined[author] = None

    # -- what follows

    @property
    def me(self) -> bytes:
        return self.node(self._mine)

    def node(self, key: bytes) -> bytes:
        """Where a key stands: at its account's founder."""
        return self._node.get(key, key)

    def keys(self, node: bytes) -> tuple[bytes, ...]:
        """Its devices, the founder first; none if it stands elsewhere by now."""
        return () if node in self._node else self._keys.get(node, (node,))

    def pairs(self, debtor: bytes, creditor: bytes) -> list[Pair]:
        """The (payer, payee) that an edge is made of."""
        pairs = ((payer, payee) for payer in self.keys(debtor) for payee in self.keys(creditor))
        return [pair for pair in pairs if pair in self._edges]

    def owed(self, debtor: bytes, creditor: bytes) -> int:
        """What all devices of one node owe those of the other for work, with nothing set against it."""
        if not self._node:  # nobody has two devices
            edge = self._edges.get((debtor, creditor))
            return edge.owed if edge else 0
        return sum(self._edges[pair].owed for pair in self.pairs(debtor, creditor))

    def owes(self, debtor: bytes, creditor: bytes) -> int:
        """What an edge is worth for work."""
        owed = self.owed(debtor, creditor)
        return owed if debtor == self.me else max(0, owed - self.owed(creditor, debtor))

    def vouched(self, debtor: bytes, creditor: bytes) -> int:
        """What the debtor answers for, now."""
        return sum(self._lines.get((debtor, creditor), {}).values())

    def vouch_entries(self, debtor: bytes, creditor: bytes) -> list[bytes]:
        """The ids of the entries that say so."""
        return [self._vouches[vouch].entry_id for vouch in self._lines.get((debtor, creditor), ())]

    def update(self, at_ms: int, limit: int = sys.maxsize) -> dict[bytes, None]:
        """Bring the graph up to date, by ``limit`` edges at most. The nodes whose debt to me may have changed."""
        deals, vouches = self._changes(limit)
        changed: dict[Pair, None] = {}
        if moved := self._regroup(vouches):
            changed |= self._follow(moved, deals, vouches)
        changed |= {(self.node(payer), self.node(payee)): None for payer, payee in deals}
        changed |= self._place_vouches(vouches, at_ms)
        for debtor, creditor in changed:
            self._set(debtor, creditor)
            if (creditor, debtor) not in changed:
                self._set(creditor, debtor)
        return {debtor: None for debtor, creditor in changed if creditor == self.me}

    @property
    def behind(self) -> bool:
        """Is there more to take in than a question should wait for?"""
        return not self._asked or bool(self._deals)

    def _changes(self, limit: int) -> tuple[dict[Pair, None], dict[Pair, None]]:
        """Edges and vouches that changed since the last question."""
        if not self._asked:
            self._asked = True
            self._joined = {key: None for pair in self._edges for key in pair} | {self._mine: None}
            self._joined |= {founder: None for _, account in self._vouches if (founder := self._founder(account))}
            self._deals, self._spoken = dict.fromkeys(self._edges), dict.fromkeys(self._vouches)
        deals, vouches = self._deals, self._spoken
        self._deals, self._spoken = {}, {}
        if limit < len(deals):
            self._deals, deals = deals, dict(deals.popitem() for _ in range(limit))
        return deals, vouches

    def _set(self, debtor: bytes, creditor: bytes) -> None:
        vouched = self.vouched(debtor, creditor) if self._lines else 0
        self.graph.set(debtor, creditor, self.owes(debtor, creditor) + vouched)

    # -- accounts

    def _regroup(self, vouches: dict[Pair, None]) -> dict[bytes, bytes]:
        """Keys move to their founders: key -> the node that it left. Vouches that waited for an account are due."""
        moved: dict[bytes, bytes] = {}
        for author in self._joined:
            for key in dict.fromkeys((self.node(author), author)):
                account = self._accounts.account_of(key)
                vouches |= self._waiting.pop(account, {})
                moved = self._move(tuple(self._accounts.members(account)) or (key,)) | moved
        self._joined = {}
        return moved

    def _follow(self, moved: dict[bytes, bytes], deals: dict[Pair, None], vouches: dict[Pair, None]) -> dict[Pair, None]:
        """What these keys dealt and vouched is to be looked at again. The pairs of nodes that they leave."""
        left: dict[Pair, None] = {}
        for payer, payee in self._edges:
            if payer in moved or payee in moved:
                left[moved.get(payer, self.node(payer)), moved.get(payee, self.node(payee))] = None
                deals[payer, payee] = None
        for author, account in self._vouches:
            if author in moved or self._founder(account) in moved:
                vouches[author, account] = None
        return left

    def _move(self, keys: tuple[bytes, ...]) -> dict[bytes, bytes]:
        """Make one node of these keys, founder first. Key -> the node that it left."""
        founder, before = keys[0], self.keys(keys[0])
        if keys == before:
            return {}
        moved = {key: self.node(key) for key in {**dict.fromkeys(before), **dict.fromkeys(keys)}}
        for key in before:
            self._node.pop(key, None)
        self._node |= dict.fromkeys(keys[1:], founder)
        self._keys[founder] = keys
        return moved

    # -- vouches

    def _place_vouches(self, vouches: dict[Pair, None], at_ms: int) -> dict[Pair, None]:
        """The pairs of nodes at which a vouch begins or ceases to count."""
        while self._expiries and self._expiries[0][0] <= at_ms:
            vouches[heappop(self._expiries)[1]] = None
        changed: dict[Pair, None] = {}
        for vouch in vouches:
            if before := self._placed.pop(vouch, None):
                del self._lines[before][vouch]
                changed[before] = None
            if pair := self._place(vouch, at_ms):
                changed[pair] = None
        return changed

    def _place(self, vouch: Pair, at_ms: int) -> Pair | None:
        author, account = vouch
        word, founder = self._vouches.get(vouch), self._founder(account)
        if word is None or word.expires_ms <= at_ms:
            return None
        if founder is None:
            self._waiting.setdefault(account, {})[vouch] = None
            return None
        pair = self._placed[vouch] = self.node(author), founder
        self._lines.setdefault(pair, {})[vouch] = word.limit
        heappush(self._expiries, (word.expires_ms, vouch))
        return pair

    def _founder(self, account: bytes) -> bytes | None:
        return next(iter(self._accounts.members(account)), None)
