"""Everybody's standing with this peer: the credit that reaches each from it, less what it has used up here.

What a requester had from me, and what it has reserved here, is charged along the paths on which credit reaches it, the shortest
first. What was served beyond its credit is *due*, and charged before it stands here again. The charges follow from the log
and from the jobs under way, so nothing of them is kept on disk: after a restart the same amounts are charged, over the paths
that there are by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from meshgen.ledger.accounts import Accounts
from meshgen.ledger.flow import Path
from meshgen.ledger.fold import Edge, Line
from meshgen.ledger.neighbourhood import Neighbourhood, Pair
from meshgen.ledger.noted import Noted
from meshgen.ledger.promises import VouchWord


@dataclass(slots=True)
class _Account:
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
    """``mine`` is this peer's key; the maps are the ledger's own, kept up by its books and promises. Times are in ms."""

    def __init__(self, mine: bytes, edges: Noted[Pair, Edge], vouches: Noted[Pair, VouchWord], accounts: Accounts) -> None:
        self.neighbourhood = Neighbourhood(mine, edges, vouches, accounts)
        self._graph = self.neighbourhood.graph
        self._accounts: dict[bytes, _Account] = {}  # by node
        self._me = mine

    def joining(self, author: bytes) -> None:
        """To be told of each GENESIS and KEY, once ``accounts`` has it."""
        self.neighbourhood.joining(author)

    def credit(self, requester: bytes, at_ms: int) -> int:
        """How far this requester is to be served before those without standing, in milli-kudos."""
        node = self._update(requester, at_ms)
        return self._graph.capacity(self._me, node)

    def paths(self, requester: bytes, at_ms: int) -> list[Path]:
        """The credit, path by path; nodes are founders' keys."""
        node = self._update(requester, at_ms)
        return self._graph.paths(self._me, node)

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

    def explain(
        self, requester: bytes, at_ms: int, lines: Callable[[bytes], Iterable[Line]], *, charged: bool = False
    ) -> list[ShownPath]:
        """The paths of its credit (or those that it has used up), each hop with the entries behind it.

        ``lines`` gives the deals of one key, as :meth:`meshgen.ledger.ledger.Ledger.explain` does.
        """
        paths = self.paths(requester, at_ms)
        if charged:
            account = self._accounts.get(self.neighbourhood.node(requester))
            paths = account.paths if account else []
        return [ShownPath(path.amount, tuple(self._hop(*hop, lines) for hop in path.hops)) for path in paths]

    # -- inside

    def _hop(self, debtor: bytes, creditor: bytes, lines: Callable[[bytes], Iterable[Line]]) -> Hop:
        around = self.neighbourhood
        pairs = {*around.pairs(debtor, creditor), *(() if debtor == self._me else around.pairs(creditor, debtor))}
        deals = [line for key in around.keys(debtor) for line in lines(key) if (line.payer, line.payee) in pairs and line.value]
        entries = dict.fromkeys(entry for line in deals for entry in line.entries)
        entries |= dict.fromkeys(around.vouch_entries(debtor, creditor))
        used = self._graph.used(debtor, creditor)
        return Hop(debtor, creditor, around.owes(debtor, creditor), around.vouched(debtor, creditor), used, tuple(entries))

    def _update(self, requester: bytes, at_ms: int) -> bytes:
        """The requester's node, with every charge made that is to be made before it is judged."""
        around = self.neighbourhood
        debtors = around.update(at_ms)
        if around.me != self._me:
            self._start_over()
            debtors |= dict.fromkeys(self._accounts)
        for debtor in debtors:
            self._settle(debtor)
        node = around.node(requester)
        if node in self._accounts:
            self._charge(node, self._accounts[node])
        return node

    def _start_over(self) -> None:
        """This device has joined an account: from now on what the account owes counts."""
        for account in self._accounts.values():
            self._graph.refund(account.paths)
            account.charged, account.due = {}, account.used + account.reserved
        self._me = self.neighbourhood.me

    def _settle(self, node: bytes) -> None:
        """What the log says that it has had of me by now."""
        used = self.neighbourhood.owed(node, self._me)
        account = self._account(node)
        change, account.used = used - account.used, used
        self._change(node, account, change)

    def _reserve(self, node: bytes, amount: int) -> None:
        account = self._account(node)
        account.reserved += amount
        self._change(node, account, amount)

    def _change(self, node: bytes, account: _Account, amount: int) -> None:
        if amount >= 0:
            account.due += amount
            self._charge(node, account)
            return
        from_due = min(account.due, -amount)
        account.due -= from_due
        self._refund(account, -amount - from_due)
        if not (account.used or account.reserved):
            self._accounts.pop(node, None)

    def _charge(self, node: bytes, account: _Account) -> None:
        if account.due and self._graph.capacity(self._me, node):
            for nodes, amount in self._graph.charge(self._me, node, account.due):
                account.due -= amount
                account.charged[nodes] = account.charged.get(nodes, 0) + amount

    def _refund(self, account: _Account, amount: int) -> None:
        """The last path first."""
        while amount > 0 and account.charged:
            nodes, charged = account.charged.popitem()
            back = min(charged, amount)
            self._graph.refund([Path(nodes, back)])
            amount -= back
            if back < charged:
                account.charged[nodes] = charged - back

    def _account(self, node: bytes) -> _Account:
        return self._accounts.setdefault(node, _Account())
