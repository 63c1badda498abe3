"""Is this log what it says? Every signature and every rule, offline, for any home, also another's and a running one's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meshgen.ledger.books import Books
from meshgen.ledger.branches import counting
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.fold import NOTHING, Balance
from meshgen.ledger.forks import ForkEvidence, convictions, judge
from meshgen.ledger.reader import Reader, prefix_of
from meshgen.ledger.rules import Chain
from meshgen.ledger.snapshot import unpack_stub
from meshgen.ledger.store import Row, Store, open_read_only
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import HOLD, Entry, Head


@dataclass(frozen=True, slots=True)
class Fault:
    """The first entry of a chain that does not hold; what follows it in that chain is not counted."""

    author: bytes
    seq: int
    why: str

    def __str__(self) -> str:
        return f"{self.author.hex()[:16]} entry {self.seq}: {self.why}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a log holds and whether it holds."""

    net: bytes
    own: bytes
    """The author whose home it is."""
    heads: dict[bytes, Head]
    """How far each chain was found good."""
    faults: tuple[Fault, ...]
    forks: tuple[ForkEvidence, ...]
    """Proofs against others: no fault of this log."""
    balances: dict[bytes, Balance]

    @property
    def entries(self) -> int:
        return sum(head.seq for head in self.heads.values())

    @property
    def total(self) -> int:
        """All nets together, in milli-kudos: zero."""
        return sum(balance.net for balance in self.balances.values())

    @property
    def ok(self) -> bool:
        return not self.faults and self.total == 0

    @property
    def balance(self) -> Balance:
        """The home's own."""
        return self.balances.get(self.own, NOTHING)


def verify_home(path: Path, tell: Callable[[int], None] = lambda _: None) -> Report:
    """Check the log in a home (or its file), writing nothing. Raises LedgerError only if there is no log to be read.

    ``tell`` hears how many entries are checked, as they are.
    """
    with open_read_only(path) as store:
        return _verify(store, tell)


def _verify(store: Store, tell: Callable[[int], None]) -> Report:
    """Chain by chain, in a memory that does not grow with them. The stored fold is not asked."""
    net, own = store.meta("net"), store.meta("self")
    forks, faults = _check_forks(store, net)
    heads: dict[bytes, Head] = {}
    branches: dict[bytes, set[bytes]] = {}
    books = Books(Reader(store, heads, branches).recall, forked=convictions(forks))
    pruned = store.pruned()
    for author in store.authors():
        chain = Chain(net, author)
        if author in pruned:
            stub = unpack_stub(net, pruned[author][1])
            if stub is None:
                faults.append(Fault(author, 1, "what is kept in place of its pruned entries is damaged"))
                continue
            stub.restore(books)
            chain = stub.chain
        done = sum(head.seq for head in heads.values())
        faults += _walk(store, chain, books, heads, lambda seq, done=done: tell(done + seq))  # type: ignore[misc]
    off: dict[bytes, list[Entry]] = {}
    for author, row in store.branches():
        faults += _check_branch(author, row, books.forked.get(author, 0), off)
    for author, entries in off.items():
        known = branches[author] = set[bytes]()
        for entry in _counting(store, net, author, books.forked[author], entries):
            books.add(entry)
            known.add(entry.id)
    faults += _check_file(store, own, heads)
    return Report(net, own, heads, tuple(faults), forks, books.balances)


def _walk(store: Store, chain: Chain, books: Books, heads: dict[bytes, Head], tell: Callable[[int], None]) -> Iterator[Fault]:
    """Put the chain's good entries into the books; yield what stops it, if anything does."""
    author = chain.author
    heads[author] = chain.head
    try:
        for row in store.chain(author, after=chain.head.seq):
            try:
                entry = row.revive(verify=True)
                chain.append(entry)
            except (Malformed, InvalidEntry) as error:
                seq = row.seq if isinstance(row.seq, int) else chain.head.seq + 1
                yield Fault(author, seq, str(error))
                return
            books.add(entry)
            heads[author] = chain.head
            tell(chain.head.seq)
    except sqlite3.DatabaseError as error:
        yield Fault(author, chain.head.seq + 1, f"the file is damaged: {error}")


def _check_branch(author: bytes, row: Row, forked_at: int, off: dict[bytes, list[Entry]]) -> Iterator[Fault]:
    """An entry off the main chain, into ``off``."""
    try:
        entry = row.revive(verify=True)
    except Malformed as error:
        yield Fault(author, row.seq, f"off the main chain: {error}")
        return
    if entry.author == author and 0 < forked_at <= entry.seq:
        off.setdefault(author, []).append(entry)
    else:
        yield Fault(author, row.seq, "it lies off the main chain of one who is not proved to have forked by then")


def _counting(store: Store, net: bytes, author: bytes, forked_at: int, entries: list[Entry]) -> list[Entry]:
    ids = {entry.id for entry in entries}
    holds = [row.revive(verify=False) for row in store.chain(author, after=forked_at - 1) if row.kind == HOLD]
    prefix = prefix_of(store, net, author, forked_at)
    return [entry for entry in counting(prefix, forked_at, [*holds, *entries]) if entry.id in ids]


def _check_file(store: Store, own: bytes, heads: dict[bytes, Head]) -> Iterator[Fault]:
    if stray := store.stray_rows():
        yield Fault(b"", 0, f"{stray} entries belong to no author")
    if own not in heads:
        yield Fault(own, 1, "the home's own chain is missing")


def _check_forks(store: Store, net: bytes) -> tuple[tuple[ForkEvidence, ...], list[Fault]]:
    proved: list[ForkEvidence] = []
    faults: list[Fault] = []
    for fork in store.forks():
        try:
            proved.append(judge(net, fork.wires))
        except Malformed as error:
            faults.append(Fault(fork.author, fork.seq, f"the evidence of a fork proves nothing: {error}"))
    return tuple(proved), faults
