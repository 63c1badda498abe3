"""A home's log into a file: streamed, so that a million entries need no more memory than a thousand."""

from __future__ import annotations

import itertools
import os
import pickle
import sqlite3
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.since import Since
from meshgen.identity import peer_id
from meshgen.ledger import export
from meshgen.ledger.fold import Balance, Deal, Gift, State, deal_of, edge_of, gift_of, is_void, shares
from meshgen.ledger.forks import ForkEvidence, convictions
from meshgen.ledger.store import Row, Store
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Entry, Genesis

PARQUET_ROWS = 20_000
"""In one row group."""
BATCH = 10_000
RECENT = 20_000
"""Deals whose state is remembered: a receipt mostly comes soon after its hold."""


@dataclass(slots=True)
class Source:
    """What is taken from a home's log. ``written`` counts as it goes."""

    store: Store
    selection: export.Selection
    since: Since
    tell: Callable[[int], None]
    written: int = 0

    def entries(self) -> Iterator[Entry]:
        """Chain after chain. A row that is damaged ends its chain with a Fault: half a truth is none."""
        for author in self.authors():
            for entry in chain(self.store, author):
                if self.since.admits(entry):
                    self.written += 1
                    self.tell(self.written)
                    yield entry

    def authors(self) -> list[bytes]:
        one = self.selection.author
        found = sorted(self.store.authors())
        if one and one not in found:
            raise Fault("no entry of that peer is kept here", "`meshgen credit log --peer` shows what the node knows")
        return [one] if one else found

    def branches(self) -> Iterator[Entry]:
        """What those who forked wrote beside their chains."""
        for author, row in self.store.branches():
            if self.selection.author in (b"", author):
                entry = revive(author, row)
                if self.since.admits(entry):
                    self.written += 1
                    yield entry

    def pruned(self) -> dict[bytes, int]:
        """author -> up to where its payments are not kept any more."""
        one = self.selection.author
        return {author: upto for author, (upto, _) in self.store.pruned().items() if one in (b"", author)}

    def forks(self) -> list[ForkEvidence]:
        one = self.selection.author
        return [fork for fork in self.store.forks() if not one or fork.author == one]


def chain(store: Store, author: bytes) -> Iterator[Entry]:
    """One author's entries as they are kept. Raises BadHome at one that is damaged."""
    for row in store.chain(author):
        yield revive(author, row)


def revive(author: bytes, row: Row) -> Entry:
    """Raises BadHome."""
    try:
        return row.revive(verify=False)
    except Malformed as error:
        why = f"entry {row.seq} of {peer_id(author)} is damaged: {error}"
        raise BadHome(why, "`meshgen credit verify` shows all that is wrong") from None


class Deals:
    """Every deal of a log, joined from all chains; in a file of its own that is gone when it is closed."""

    def __init__(self, store: Store) -> None:
        self._forked = convictions(store.forks())
        self._file = sqlite3.connect("")
        self._file.execute("CREATE TABLE part (hold BLOB NOT NULL, data BLOB NOT NULL)")
        with self._file:
            for batch in _batches(_parts(store), BATCH):
                self._file.executemany("INSERT INTO part VALUES (?, ?)", batch)
            self._file.execute("CREATE INDEX part_hold ON part (hold)")
        self.state = lru_cache(RECENT)(self._state)

    def close(self) -> None:
        self._file.close()

    def _state(self, hold_id: bytes) -> State:
        rows = self._file.execute("SELECT data FROM part WHERE hold = ?", (hold_id,))
        return self._join(data for (data,) in rows).state

    def all(self) -> Iterator[Deal]:
        """In the order of their holds' ids."""
        last, waiting = b"", list[bytes]()
        for hold_id, data in self._file.execute("SELECT hold, data FROM part ORDER BY hold"):
            if waiting and hold_id != last:
                yield self._join(waiting)
                waiting = []
            last = hold_id
            waiting.append(data)
        if waiting:
            yield self._join(waiting)

    def _join(self, parts: Iterable[bytes]) -> Deal:
        found: Deal | None = None
        for data in parts:
            part: Deal = pickle.loads(data)  # of this very process
            found = found.join(part) if found else part
        assert found is not None
        return replace(found, void=True) if is_void(found.terms, self._forked) else found


def _parts(store: Store) -> Iterator[tuple[bytes, bytes]]:
    chains = (entry for author in store.authors() for entry in chain(store, author))
    branches = (revive(author, row) for author, row in store.branches())
    for entry in itertools.chain(chains, branches):
        if part := deal_of(entry):
            yield part.hold_id, pickle.dumps(part)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def write_jsonl(source: Source, out: IO[bytes]) -> None:
    _write(out, export.jsonl(source.selection, source.entries(), source.forks(), source.branches(), source.pruned()))


def write_csv(source: Source, out: IO[bytes]) -> None:
    with closing(Deals(source.store)) as deals:
        _write(out, export.csv_lines(_rows(source, deals)))


def write_parquet(source: Source, out: IO[bytes]) -> None:
    pyarrow, parquet = _pyarrow()
    kinds = {"ts_ms": pyarrow.int64(), "seq": pyarrow.int64(), "mkudos": pyarrow.int64()}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in export.Row._fields])
    with closing(Deals(source.store)) as deals, parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in _batches(_rows(source, deals), PARQUET_ROWS):
            columns = dict(zip(export.Row._fields, map(list, zip(*batch, strict=True)), strict=True))
            writer.write_table(pyarrow.table(columns, schema=schema))


def write_graphml(source: Source, out: IO[bytes]) -> None:
    """Of the whole log, or of all that one peer has to do with."""
    with closing(Deals(source.store)) as deals:
        one = source.selection.author
        balances: defaultdict[bytes, Balance] = defaultdict(Balance)
        edges: defaultdict[tuple[bytes, bytes], export.Between] = defaultdict(export.Between)
        labels: dict[bytes, str] = {}
        for deal in deals.all():
            _count_deal(deal, one, balances, edges)
        whole = replace(source, selection=replace(source.selection, author=b""))
        for entry in itertools.chain(whole.entries(), whole.branches()):
            source.written = whole.written
            if isinstance(entry.content, Genesis):
                labels[entry.author] = entry.content.label
            if (gift := gift_of(entry)) and (not one or one in (gift.payer, gift.payee)):
                _count_gift(gift, balances, edges)
        forked = {fork.author for fork in source.store.forks()}
        _write(out, export.graphml(balances, labels, forked, edges))


def _count_deal(deal: Deal, one: bytes, balances: dict[bytes, Balance], edges: dict[tuple[bytes, bytes], export.Between]) -> None:
    if deal.terms is None or (one and one not in (deal.terms.payer, deal.terms.payee)):
        return
    edge, sums = edges[deal.terms.payer, deal.terms.payee], edge_of(deal)
    edge.owed += sums.owed
    edge.claimed += sums.claimed
    edge.contested += deal.value if deal.state is State.CONTESTED else 0
    edge.deals += 1
    for author, share in shares(deal):
        balances[author] = balances[author].plus(share)


def _count_gift(gift: Gift, balances: dict[bytes, Balance], edges: dict[tuple[bytes, bytes], export.Between]) -> None:
    edges[gift.payer, gift.payee].given += gift.amount
    for author, share in gift.shares():
        balances[author] = balances[author].plus(share)


WRITERS: dict[str, Callable[[Source, IO[bytes]], None]] = {
    "jsonl": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet,
    "graphml": write_graphml,
}


def _rows(source: Source, deals: Deals) -> Iterator[export.Row]:
    for entry in source.entries():
        part = deal_of(entry)
        yield export.row(entry, deals.state(part.hold_id) if part else "")


def _write(out: IO[bytes], lines: Iterable[str]) -> None:
    for line in lines:
        out.write(line.encode())


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Fault("parquet needs pyarrow", "pip install 'meshgen-node[research]', or choose --format csv") from None
    return pyarrow, parquet


@contextmanager
def target(path: str, force: bool) -> Iterator[IO[bytes]]:
    """``-`` is stdout; a file is there whole or not at all. Raises Fault."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    file = Path(path)
    if file.exists() and not force:
        raise Fault(f"{file} exists already", "--force replaces it", code="exists")
    try:
        with _beside(file) as out:
            yield out
    except OSError as error:
        raise Fault(f"{file} can't be written: {error.strerror or error}") from None


@contextmanager
def _beside(file: Path) -> Iterator[IO[bytes]]:
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
