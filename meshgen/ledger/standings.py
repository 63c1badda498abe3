"""Everybody's standing with this peer: the credit that reaches each from it, less what it has used up here.

What a requester had from me, and what it has reserved here, is charged along the paths on which credit reaches it, the shortest
first. What was served beyond its credit is *due*, and charged before it stands here again. The charges follow from the log
and from the jobs under way, so nothing of them is kept on disk: after a restart the same amounts are charged, over the paths
that there are by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from meshgen.ledger.accounts import Accounts
from meshgen.ledger.flow import Path
from meshgen.ledger.fold import Edge, Line
from meshgen.ledger.neighbourhood import Neighbourhood, Pair
from meshgen.ledger.promises import VouchWord

SLICE = 500
"""Edges taken in at a time by :meth:`Standings.prepare`: some milliseconds."""
Between = Callable[[bytes, bytes], Iterable[Line]]
"""The deals of one payer with one payee."""


@dataclass(slots=True)
class _Use:
    """What one requester has used up here, in milli-kudos."""

    used: int = 0
    reserved: int = 0
    due: int = 0
    """The part of it that no path could be charged for."""
    charged: dict[tuple[bytes, ...], int] = field(default_factory=dict)
    """Nodes of a path -> what was charged along it."""

    @property
    def paths(self) -> list[Path]:
        return [Path(nodes, amount) for nodes, amount in self.charged.items()]

    def charge(self, paths: Iterable[Path]) -> None:
        for nodes, amount in paths:
            self.due -= amount
            self.charged[nodes] = self.charged.get(nodes, 0) + amount

    def refund(self, amount: int) -> Iterator[Path]:
        """What to give back on which path, the last first."""
        forgiven = min(self.due, amount)
        self.due -= forgiven
        amount -= forgiven
        while amount > 0 and self.charged:
            nodes, charged = self.charged.popitem()
            back = min(charged, amount)
            if back < charged:
                self.charged[nodes] = charged - back
            amount -= back
            yield Path(nodes, back)


@dataclass(frozen=True, slots=True)
class Hop:
    """One edge of a path that is shown to a person."""

    debtor: bytes
    creditor: bytes
    owed: int
    """For work, after what is owed the other way; all of it if the debtor is this peer."""
    vouched: int
    used: int
    """Charged by this peer for what it served."""
    entries: tuple[bytes, ...]
    """The ids of the entries that say so."""


@dataclass(frozen=True, slots=True)
class ShownPath:
    amount: int
    hops: tuple[Hop, ...]


class Standings:
    """``mine`` is this peer's key; the maps are the ledger's own, whose changes are to be told. Times are in ms."""

    def __init__(self, mine: bytes, edges: Mapping[Pair, Edge], vouches: Mapping[Pair, VouchWord], accounts: Accounts) -> None:
        self.neighbourhood = Neighbourhood(mine, edges, vouches, accounts)
        self._graph = self.neighbourhood.graph
        self._uses: dict[bytes, _Use] = {}  # by node
        self._unsettled: dict[bytes, None] = {}  # nodes whose debt to me changed
        self._me = mine

    def dealt(self, payer: bytes, payee: bytes) -> None:
        """What lies between these two keys has changed."""
        self.neighbourhood.dealt(payer, payee)

    def vouching(self, author: bytes, account: bytes) -> None:
        """There is a later word of this author for this account, or none any more."""
        self.neighbourhood.vouching(author, account)

    def joining(self, author: bytes) -> None:
        """There is a GENESIS or a KEY of this author's, or some count no more."""
        self.neighbourhood.joining(author)

    def prepare(self, at_ms: int) -> bool:
        """Take in a slice of what a first question in a large log would wait for. Is there more?"""
        if self.neighbourhood.behind:
            self._unsettled |= self.neighbourhood.update(at_ms, SLICE)
        elif self._unsettled:
            self._settle(next(iter(self._unsettled)))
        return self.neighbourhood.behind or bool(self._unsettled)

    def credit(self, requester: bytes, at_ms: int) -> int:
        """How far this requester is to be served before those without standing, in milli-kudos."""
        node = self._update(requester, at_ms)
        return self._graph.capacity(self._me, node)

    def paths(self, requester: bytes, at_ms: int) -> list[Path]:
        """The credit, path by path; nodes are founders' keys."""
        node = self._update(requester, at_ms)
        return self._graph.paths(self._me, node)

    def due(self, requester: bytes, at_ms: int) -> int:
        """What it had beyond its credit, in milli-kudos: new credit goes there first."""
        use = self._uses.get(self._update(requester, at_ms))
        return use.due if use else 0

    def is_own(self, requester: bytes) -> bool:
        """Does it speak for this peer's own account?"""
        return self.neighbourhood.node(requester) == self.neighbourhood.me

    @contextmanager
    def reserved(self, requester: bytes, amount: int) -> Iterator[None]:
        """While a job is under way, what it may come to is charged, so that many at once don't use the same credit."""
        node = self.neighbourhood.node(requester)
        self._reserve(node, amount)
        try:
            yield
        finally:
            self._reserve(node, -amount)

    def explain(self, requester: bytes, at_ms: int, between: Between, *, charged: bool = False) -> list[ShownPath]:
        """The paths of its credit (or those that it has used up), each hop with the entries behind it."""
        paths = self.paths(requester, at_ms)
        if charged:
            use = self._uses.get(self.neighbourhood.node(requester))
            paths = use.paths if use else []
        return [ShownPath(path.amount, tuple(self._hop(*hop, between) for hop in path.hops)) for path in paths]

    # -- inside

    def _hop(self, debtor: bytes, creditor: bytes, between: Between) -> Hop:
        around = self.neighbourhood
        pairs = around.pairs(debtor, creditor)
        if debtor != self._me:
            pairs += around.pairs(creditor, debtor)
        deals = [line for pair in pairs for line in between(*pair) if line.value]
        entries = dict.fromkeys(entry for line in deals for entry in line.entries)
        entries |= dict.fromkeys(around.vouch_entries(debtor, creditor))
        used = self._graph.used(debtor, creditor)
        return Hop(debtor, creditor, around.owes(debtor, creditor), around.vouched(debtor, creditor), used, tuple(entries))

    def _update(self, requester: bytes, at_ms: int) -> bytes:
        """The requester's node, with every charge made that is to be made before it is judged."""
        around = self.neighbourhood
        self._unsettled |= around.update(at_ms)
        if around.me != self._me:
            self._start_over()
        for debtor in list(self._unsettled):
            self._settle(debtor)
        node = around.node(requester)
        if node in self._uses:
            self._change(node, 0)
        return node

    def _settle(self, debtor: bytes) -> None:
        """Charge what the log says that it has had of me by now."""
        del self._unsettled[debtor]
        use, used = self._use(debtor), self.neighbourhood.owed(debtor, self._me)
        change, use.used = used - use.used, used
        self._change(debtor, change)

    def _start_over(self) -> None:
        """This device has joined an account, or left it: from now on what the account owes counts."""
        self._me = self.neighbourhood.me
        for use in self._uses.values():
            self._graph.refund(use.paths)
            use.charged, use.due = {}, use.used + use.reserved
        for node in list(self._uses):
            self._change(node, 0)

    def _reserve(self, node: bytes, amount: int) -> None:
        self._use(node).reserved += amount
        self._change(node, amount)

    def _change(self, node: bytes, amount: int) -> None:
        """So much more was used or reserved, and as much as possible of what is due is charged."""
        use = self._uses[node]
        use.due += max(0, amount)
        if use.due and self._graph.capacity(self._me, node):
            use.charge(self._graph.charge(self._me, node, use.due))
        self._graph.refund(use.refund(max(0, -amount)))
        if not (use.used or use.reserved):
            del self._uses[node]

    def _use(self, node: bytes) -> _Use:
        return self._uses.setdefault(node, _Use())
