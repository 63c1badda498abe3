"""Is this log what it says? Every signature and every rule, offline, for any home, also another's and a running one's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.fold import NOTHING, Balance, balances, gather
from meshgen.ledger.forks import ForkEvidence, judge
from meshgen.ledger.rules import Chain
from meshgen.ledger.store import Store, open_read_only
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Entry, Head


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


def verify_home(path: Path) -> Report:
    """Check the log in a home (or its file), writing nothing. Raises LedgerError only if there is no log to be read."""
    with open_read_only(path) as store:
        return _verify(store)


def _verify(store: Store) -> Report:
    net, own = store.meta("net"), store.meta("self")
    good: list[Entry] = []
    heads: dict[bytes, Head] = {}
    faults: list[Fault] = []
    for author in store.authors():
        chain = Chain(net, author)
        faults += _walk(store, chain, good)
        heads[author] = chain.head
    faults += _check_file(store, own, heads)
    forks, bad_forks = _check_forks(store, net)
    return Report(net, own, heads, (*faults, *bad_forks), forks, balances(gather(good)))


def _walk(store: Store, chain: Chain, good: list[Entry]) -> Iterator[Fault]:
    """Append the chain's good entries to ``good``; yield what stops it, if anything does."""
    try:
        for row in store.chain(chain.author):
            try:
                entry = row.revive(verify=True)
                chain.append(entry)
            except (Malformed, InvalidEntry) as error:
                seq = row.seq if isinstance(row.seq, int) else chain.head.seq + 1
                yield Fault(chain.author, seq, str(error))
                return
            good.append(entry)
    except sqlite3.DatabaseError as error:
        yield Fault(chain.author, chain.head.seq + 1, f"the file is damaged: {error}")


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
