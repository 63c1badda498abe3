"""The log on disk: one SQLite file in WAL mode, one writing process.

Own entries are on the platter before :meth:`Store.write` returns (synchronous=FULL): an entry that others may have seen must
survive a power cut, or its author forks. Others' entries can be pulled again, so NORMAL is enough for a batch that holds none
of our own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

from meshgen.ledger.database import (
    SCHEMA_VERSION,
    check_version,
    connect,
    connect_read_only,
    explained,
    is_empty,
    locked,
    prepare,
    why_absent,
)
from meshgen.ledger.dues import Due, pack, unpack
from meshgen.ledger.errors import Absent, LedgerError
from meshgen.ledger.forks import ForkEvidence
from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.credit import MAX_RANGE_BYTES, MAX_RANGE_ENTRIES, NO_HEAD, Entry, Head, decode_entry, entry_id

LEDGER_FILE = "ledger.db"
LOCK_FILE = "ledger.lock"
ROWS_AT_ONCE = 128
_ROW = "(?, ?, ?, ?, ?, ?)"
_INSERT = f"INSERT INTO entry VALUES {_ROW}"
_INSERT_MANY = f"INSERT INTO entry VALUES {', '.join([_ROW] * ROWS_AT_ONCE)}"


class Disk:
    """A disk in memory that outlives the ledgers opened on it: what was committed is there when it is opened again.

    ``before_write`` and ``after_write`` are called around each transaction; one that raises is a crash at that point.
    """

    def __init__(self) -> None:
        self.connection = connect(":memory:")
        self.before_write: Callable[[], None] = _nothing
        self.after_write: Callable[[], None] = _nothing
        self.in_use = False
        self.is_copy = False

    def copy(self) -> Disk:
        """A backup of what is on it now, without the hooks."""
        twin = Disk()
        twin.is_copy = True
        self.connection.backup(twin.connection)
        return twin


def _nothing() -> None:
    pass


class Row(NamedTuple):
    """One entry on disk."""

    seq: int
    id: bytes
    kind: int
    body: bytes
    sig: bytes

    @property
    def wire(self) -> bytes:
        return encode((self.body, self.sig))

    def revive(self, *, verify: bool) -> Entry:
        """The entry that was written. Raises Malformed if this row is not it any more."""
        entry = decode_entry(encode((self.body, self.sig)), verify=verify)
        if (entry.seq, entry.id, entry.kind) != (self.seq, self.id, self.kind):
            raise Malformed("the entry is not the one that this row's number, id and kind name")
        return entry


class Linked(Protocol):
    """An entry as far as it is written: an :class:`Entry`, or what head mode reads of one."""

    @property
    def author(self) -> bytes: ...
    @property
    def seq(self) -> int: ...
    @property
    def id(self) -> bytes: ...
    @property
    def kind(self) -> int: ...
    @property
    def body(self) -> bytes: ...
    @property
    def sig(self) -> bytes: ...


@dataclass(slots=True)
class Batch:
    """What is written at once: all of it or none."""

    entries: list[Linked] = field(default_factory=list)
    confirmed: list[Entry] = field(default_factory=list)
    """On disk already, and judged only now."""
    forks: list[ForkEvidence] = field(default_factory=list)
    branches: list[Entry] = field(default_factory=list)
    dues: dict[bytes, Due | None] = field(default_factory=dict)
    """By hold; None: there is none any more."""
    judged: dict[bytes, int | None] = field(default_factory=dict)
    """author -> how far its chain is judged; None: all of it."""

    def __bool__(self) -> bool:
        return bool(self.entries or self.forks or self.branches or self.judged or any(self.dues.values()))


class Store:
    """Rows in, rows out; it judges nothing. Writing may happen in one worker thread at a time, reading in any."""

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection, disk: Disk | None = None) -> None:
        self._writer = writer
        self._reader = reader
        self._disk = disk
        self._aids: dict[bytes, int] = {key: aid for aid, key in reader.execute("SELECT aid, key FROM author")}

    @property
    def in_memory(self) -> bool:
        return self._writer is self._reader

    # -- writing

    def write(self, batch: Batch, *, durable: bool) -> None:
        self._writer.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        with self._transaction():
            many = self._writer.executemany
            self._insert(self._rows(batch.entries))
            if batch.branches:
                rows = [(e.author, e.seq, e.id, e.kind, e.body, e.sig) for e in batch.branches]
                many("INSERT OR IGNORE INTO branch VALUES (?, ?, ?, ?, ?, ?)", rows)
            if batch.forks:
                proofs = [(fork.author, fork.seq, *fork.ids, *fork.wires) for fork in batch.forks]
                many("INSERT OR IGNORE INTO fork VALUES (?, ?, ?, ?, ?, ?)", proofs)
            if batch.dues:
                many("DELETE FROM due WHERE hold_id = ?", [(hold_id,) for hold_id in batch.dues])
                kept = [(hold_id, *pack(due)) for hold_id, due in batch.dues.items() if due]
                many("INSERT INTO due VALUES (?, ?, ?)", kept)
            if batch.judged:
                self._mark_judged(batch.judged)

    def _rows(self, entries: Sequence[Linked]) -> list[tuple[object, ...]]:
        aids = self._aids
        return [(aids.get(e.author) or self._aid(e.author), e.seq, e.id, e.kind, e.body, e.sig) for e in entries]

    def _insert(self, rows: Sequence[tuple[object, ...]]) -> None:
        """Many at a time: each statement that is run gives other threads a turn, and turns cost more than rows."""
        whole = len(rows) - len(rows) % ROWS_AT_ONCE
        for start in range(0, whole, ROWS_AT_ONCE):
            self._writer.execute(_INSERT_MANY, tuple(chain.from_iterable(rows[start : start + ROWS_AT_ONCE])))
        self._writer.executemany(_INSERT, rows[whole:])

    def _mark_judged(self, judged: Mapping[bytes, int | None]) -> None:
        whole = [(self._aid(author),) for author, seq in judged.items() if seq is None]
        marks = [(self._aid(author), seq) for author, seq in judged.items() if seq is not None]
        self._writer.executemany("DELETE FROM unjudged WHERE aid = ?", whole)
        self._writer.executemany("INSERT OR REPLACE INTO unjudged VALUES (?, ?)", marks)

    def cut(self, author: bytes, from_seq: int) -> None:
        """Forget a foreign chain from there on; it can be pulled again."""
        aid = self._aids[author]
        with self._transaction():
            self._writer.execute("DELETE FROM entry WHERE aid = ? AND seq >= ?", (aid, from_seq))
            self._writer.execute("DELETE FROM unjudged WHERE aid = ? AND judged >= ?", (aid, from_seq - 1))
            self._writer.execute("DELETE FROM pruned WHERE aid = ? AND seq >= ?", (aid, from_seq))

    def prune(self, author: bytes, upto_seq: int, state: bytes) -> None:
        """Forget the payments of a foreign chain up to there, and keep ``state`` in their place."""
        aid = self._aids[author]
        with self._transaction():
            payments = "DELETE FROM entry WHERE aid = ? AND seq <= ? AND kind IN (1, 2, 3, 4, 14)"
            self._writer.execute(payments, (aid, upto_seq))
            self._writer.execute("INSERT OR REPLACE INTO pruned VALUES (?, ?, ?)", (aid, upto_seq, state))

    def set_meta(self, key: str, value: bytes) -> None:
        with self._transaction():
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def drop_meta(self, key: str) -> None:
        """At any time, also while a thread writes."""
        self._reader.execute("DELETE FROM meta WHERE key = ?", (key,))

    # -- reading

    def authors(self) -> list[bytes]:
        return list(self._aids)

    def rows(self, author: bytes, from_seq: int, to_seq: int) -> Iterator[Row]:
        """As they lie on disk, which may be damaged, judged or not. Raises sqlite3.DatabaseError where it can't be read."""
        query = "SELECT seq, id, kind, body, sig FROM entry WHERE aid = ? AND seq BETWEEN ? AND ? ORDER BY seq"
        return map(Row._make, self._reader.execute(query, (self._aids.get(author, 0), from_seq, to_seq)))

    def chain(self, author: bytes, after: int = 0) -> Iterator[Row]:
        """What was judged of a chain, from the entry after ``after`` on; of a pruned one, what is left."""
        query = (
            "SELECT seq, id, kind, body, sig FROM entry WHERE aid = ?1 AND seq > ?2"
            " AND seq <= COALESCE((SELECT judged FROM unjudged WHERE aid = ?1), 9e15) ORDER BY seq"
        )
        return map(Row._make, self._reader.execute(query, (self._aids.get(author, 0), after)))

    def wires(self, author: bytes, from_seq: int, to_seq: int) -> list[bytes]:
        """Entries from..to, both included, at most MAX_RANGE_ENTRIES and MAX_RANGE_BYTES of them. Raises Malformed if damaged."""
        query = "SELECT seq, id, kind, body, sig FROM entry WHERE aid = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"
        rows = self._reader.execute(query, (self._aids.get(author, 0), from_seq, to_seq, MAX_RANGE_ENTRIES))
        return fitting(map(Row._make, rows))

    def payments(self, payer: bytes, payee: bytes, upto_seq: int) -> Iterator[Row]:
        """The payer's HOLDs and RECEIPTs up to there in which ``payee`` stands, and all its RELEASEs."""
        query = (
            "SELECT seq, id, kind, body, sig FROM entry WHERE aid = ? AND seq <= ?"
            " AND (kind = 14 OR (kind IN (1, 2) AND instr(body, ?))) ORDER BY seq"
        )
        return map(Row._make, self._reader.execute(query, (self._aids.get(payer, 0), upto_seq, payee)))

    def transfers(self, about: bytes) -> Iterator[tuple[bytes, Row]]:
        """(author, TRANSFER) of all chains, by or to one key: looks through everything."""
        query = (
            "SELECT key, seq, id, kind, body, sig FROM entry JOIN author USING (aid)"
            " WHERE kind = 4 AND instr(body, ?) ORDER BY key, seq"
        )
        for author, *row in self._reader.execute(query, (about,)):
            yield author, Row._make(row)

    def closing(self, author: bytes, hold_id: bytes, from_seq: int, to_seq: int) -> list[Row]:
        """The RECEIPT or RELEASE of a hold; and that of another, if it is the entry after the HOLD: its ``prev`` names it too."""
        query = (
            "SELECT seq, id, kind, body, sig FROM entry WHERE aid = ? AND seq BETWEEN ? AND ?"
            " AND kind IN (2, 14) AND instr(body, ?) LIMIT 2"
        )
        rows = self._reader.execute(query, (self._aids.get(author, 0), from_seq, to_seq, hold_id))
        return [Row._make(row) for row in rows]

    def find(self, author: bytes, entry_id: bytes) -> Row | None:
        """By its id: looks through the whole chain."""
        query = "SELECT seq, id, kind, body, sig FROM entry WHERE aid = ? AND id = ?"
        row = self._reader.execute(query, (self._aids.get(author, 0), entry_id)).fetchone()
        return Row._make(row) if row else None

    def words(self, kinds: Sequence[int]) -> Iterator[tuple[bytes, Row]]:
        """(author, entry) of all authors, of kinds that are no payments."""
        names = {aid: key for key, aid in self._aids.items()}
        query = f"SELECT aid, seq, id, kind, body, sig FROM entry INDEXED BY word WHERE kind IN ({','.join('?' * len(kinds))})"
        query += " AND kind NOT IN (1, 2, 3, 4, 14) ORDER BY aid, seq"
        for aid, *row in self._reader.execute(query, tuple(kinds)):
            if aid in names:
                yield names[aid], Row._make(row)

    def ids(self, author: bytes, from_seq: int, to_seq: int) -> dict[int, bytes]:
        """seq -> entry id, where known."""
        query = "SELECT seq, id FROM entry WHERE aid = ? AND seq BETWEEN ? AND ?"
        return dict(self._reader.execute(query, (self._aids.get(author, 0), from_seq, to_seq)))

    def end(self, author: bytes) -> Head:
        """The last entry on disk, judged or not."""
        query = "SELECT seq, id FROM entry WHERE aid = ? ORDER BY seq DESC LIMIT 1"
        row = self._reader.execute(query, (self._aids.get(author, 0),)).fetchone()
        return Head(*row) if row else NO_HEAD

    def unjudged(self) -> dict[bytes, int]:
        """author -> how far its chain is judged, where it goes on beyond that."""
        return dict(self._reader.execute("SELECT key, judged FROM unjudged JOIN author USING (aid)"))

    def pruned(self) -> dict[bytes, tuple[int, bytes]]:
        """author -> (up to where its chain is not kept, what is kept in its place)."""
        query = "SELECT key, seq, state FROM pruned JOIN author USING (aid)"
        return {key: (seq, state) for key, seq, state in self._reader.execute(query)}

    def branches(self) -> Iterator[tuple[bytes, Row]]:
        """(author, entry) of everything off the main chains."""
        for author, *row in self._reader.execute("SELECT author, seq, id, kind, body, sig FROM branch"):
            yield author, Row._make(row)

    def branch(self, author: bytes) -> list[Row]:
        query = "SELECT seq, id, kind, body, sig FROM branch WHERE author = ? ORDER BY seq, id"
        return [Row._make(row) for row in self._reader.execute(query, (author,))]

    def branch_ids(self, author: bytes) -> set[bytes]:
        return {row[0] for row in self._reader.execute("SELECT id FROM branch WHERE author = ?", (author,))}

    def forks(self) -> list[ForkEvidence]:
        rows = self._reader.execute("SELECT author, seq, id_a, id_b, wire_a, wire_b FROM fork")
        return [ForkEvidence(author, seq, (id_a, id_b), (a, b)) for author, seq, id_a, id_b, a, b in rows]

    def dues(self) -> list[Due]:
        """Raises LedgerError where the file is damaged."""
        try:
            return [unpack(kind, data) for kind, data in self._reader.execute("SELECT kind, data FROM due")]
        except Malformed as error:
            raise LedgerError(f"what jobs have come to can't be read: {error}") from error

    def stray_rows(self) -> int:
        """Entries of no author: there are none in a sound file."""
        query = "SELECT COUNT(*) FROM entry WHERE aid NOT IN (SELECT aid FROM author)"
        return int(self._reader.execute(query).fetchone()[0])

    def meta(self, key: str) -> bytes:
        row = self._reader.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else b""

    # -- inside

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._disk:
            self._disk.before_write()
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise
        self._writer.execute("COMMIT")
        if self._disk:
            self._disk.after_write()

    def _aid(self, author: bytes) -> int:
        aid = self._aids.get(author)
        if aid is None:
            self._writer.execute("INSERT OR IGNORE INTO author (key) VALUES (?)", (author,))
            aid = int(self._writer.execute("SELECT aid FROM author WHERE key = ?", (author,)).fetchone()[0])
            self._aids[author] = aid
        return aid


def fitting(rows: Iterator[Row]) -> list[bytes]:
    """The wires of so many rows as one reply may hold. Raises Malformed at a row that is damaged."""
    wires: list[bytes] = []
    room = MAX_RANGE_BYTES
    for row in rows:
        if entry_id(row.body) != row.id:
            raise Malformed(f"entry {row.seq} is not the one that was written")
        wire = row.wire
        room -= len(wire) + 3  # the array's own bytes around it
        if room < 0 or len(wires) == MAX_RANGE_ENTRIES:
            break
        wires.append(wire)
    return wires


@contextmanager
def open_store(home: Path | Disk | None) -> Iterator[Store]:
    """The home's log, for writing; locked against every other process. None: in memory, gone at the end. Raises LedgerError."""
    if home is None:
        with closing(connect(":memory:")) as both:
            prepare(both)
            yield Store(both, both)
        return
    if isinstance(home, Disk):
        with _in_use(home):
            prepare(home.connection)
            yield Store(home.connection, home.connection, home)
        return
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = home / LEDGER_FILE
    with locked(home / LOCK_FILE), explained(file), closing(connect(str(file))) as writer:
        prepare(writer)
        with closing(connect(str(file))) as reader:
            yield Store(writer, reader)


@contextmanager
def open_read_only(path: Path) -> Iterator[Store]:
    """Another home's log, even of a running node; nothing is written. Raises LedgerError, Absent if there is none."""
    file = path / LEDGER_FILE if path.is_dir() else path
    if not file.is_file():
        raise Absent(why_absent(file))
    with explained(file), closing(connect_read_only(file)) as reader:
        if is_empty(reader):
            raise Absent(why_absent(file))
        check_version(reader, SCHEMA_VERSION)
        yield Store(reader, reader)


@contextmanager
def _in_use(disk: Disk) -> Iterator[None]:
    if disk.in_use:
        raise LedgerError("another ledger uses this disk")
    disk.in_use = True
    try:
        yield
    finally:
        disk.in_use = False
