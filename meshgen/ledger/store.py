"""The log on disk: one SQLite file in WAL mode, one writing process.

Own entries are on the platter before :meth:`Store.write` returns (synchronous=FULL): an entry that others may have seen must
survive a power cut, or its author forks. Others' entries can be pulled again, so NORMAL is enough for a batch that holds none
of our own.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

from meshgen.ledger.dues import Due, pack, unpack
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.forks import ForkEvidence
from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.credit import MAX_RANGE_BYTES, MAX_RANGE_ENTRIES, Entry, decode_entry

LEDGER_FILE = "ledger.db"
LOCK_FILE = "ledger.lock"
SCHEMA_VERSION = 1
BUSY_MS = 5000

_DUES = "CREATE TABLE IF NOT EXISTS due (hold_id BLOB PRIMARY KEY, kind INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID"
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE author (aid INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE entry (
    aid INTEGER NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, kind INTEGER NOT NULL,
    body BLOB NOT NULL, sig BLOB NOT NULL, sig_ok INTEGER NOT NULL,
    PRIMARY KEY (aid, seq)
) WITHOUT ROWID;
CREATE TABLE fork (
    author BLOB NOT NULL, seq INTEGER NOT NULL, id_a BLOB NOT NULL, id_b BLOB NOT NULL,
    wire_a BLOB NOT NULL, wire_b BLOB NOT NULL,
    PRIMARY KEY (author, seq, id_a, id_b)
) WITHOUT ROWID;
"""


class Disk:
    """A disk in memory that outlives the ledgers opened on it: what was committed is there when it is opened again.

    ``before_write`` and ``after_write`` are called around each transaction; one that raises is a crash at that point.
    """

    def __init__(self) -> None:
        self.connection = _connect(":memory:")
        self.before_write: Callable[[], None] = _nothing
        self.after_write: Callable[[], None] = _nothing
        self.in_use = False

    def copy(self) -> Disk:
        """A backup of what is on it now, without the hooks."""
        twin = Disk()
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

    def revive(self, *, verify: bool) -> Entry:
        """The entry that was written. Raises Malformed if this row is not it any more."""
        entry = decode_entry(encode((self.body, self.sig)), verify=verify)
        if (entry.seq, entry.id, entry.kind) != (self.seq, self.id, self.kind):
            raise Malformed("the entry is not the one that this row's number, id and kind name")
        return entry


class Store:
    """Rows in, rows out; it judges nothing. Writing may happen in one worker thread at a time, reading on the loop."""

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection, disk: Disk | None = None) -> None:
        self._writer = writer
        self._reader = reader
        self._disk = disk
        self._aids: dict[bytes, int] = {key: aid for aid, key in reader.execute("SELECT aid, key FROM author")}

    @property
    def in_memory(self) -> bool:
        return self._writer is self._reader

    def write(
        self,
        entries: Sequence[Entry],
        forks: Sequence[ForkEvidence],
        *,
        durable: bool,
        dues: Mapping[bytes, Due | None] = MappingProxyType({}),
    ) -> None:
        """All of them or none. ``dues`` are by hold; None: there is none any more."""
        self._writer.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        with self._transaction():
            rows = [(self._aid(e.author), e.seq, e.id, e.kind, e.body, e.sig) for e in entries]
            self._writer.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, 1)", rows)
            proofs = [(fork.author, fork.seq, *fork.ids, *fork.wires) for fork in forks]
            self._writer.executemany("INSERT OR IGNORE INTO fork VALUES (?, ?, ?, ?, ?, ?)", proofs)
            self._writer.executemany("DELETE FROM due WHERE hold_id = ?", [(hold_id,) for hold_id in dues])
            kept = [(hold_id, *pack(due)) for hold_id, due in dues.items() if due]
            self._writer.executemany("INSERT INTO due VALUES (?, ?, ?)", kept)

    def dues(self) -> list[Due]:
        """Raises LedgerError where the file is damaged."""
        try:
            return [unpack(kind, data) for kind, data in self._reader.execute("SELECT kind, data FROM due")]
        except Malformed as error:
            raise LedgerError(f"what jobs have come to can't be read: {error}") from error

    def cut(self, author: bytes, from_seq: int) -> None:
        """Forget a foreign chain from there on; it can be pulled again."""
        with self._transaction():
            self._writer.execute("DELETE FROM entry WHERE aid = ? AND seq >= ?", (self._aids[author], from_seq))

    def authors(self) -> list[bytes]:
        return list(self._aids)

    def wires(self, author: bytes, from_seq: int, to_seq: int) -> list[bytes]:
        """Entries from..to, both included, at most MAX_RANGE_ENTRIES and MAX_RANGE_BYTES of them."""
        query = "SELECT body, sig FROM entry WHERE aid = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"
        rows = self._reader.execute(query, (self._aids.get(author, 0), from_seq, to_seq, MAX_RANGE_ENTRIES))
        wires: list[bytes] = []
        room = MAX_RANGE_BYTES
        for body, sig in rows:
            wire = encode((body, sig))
            room -= len(wire) + 3  # the array's own bytes around it
            if room < 0:
                break
            wires.append(wire)
        return wires

    def chain(self, author: bytes) -> Iterator[Row]:
        """A whole chain as it lies on disk, which may be damaged. Raises sqlite3.DatabaseError where it can't be read."""
        query = "SELECT seq, id, kind, body, sig FROM entry WHERE aid = ? ORDER BY seq"
        for row in self._reader.execute(query, (self._aids[author],)):
            yield Row(*row)

    def stray_rows(self) -> int:
        """Entries of no author: there are none in a sound file."""
        query = "SELECT COUNT(*) FROM entry WHERE aid NOT IN (SELECT aid FROM author)"
        return int(self._reader.execute(query).fetchone()[0])

    def ids(self, author: bytes, from_seq: int, to_seq: int) -> dict[int, bytes]:
        """seq -> entry id, where known."""
        query = "SELECT seq, id FROM entry WHERE aid = ? AND seq BETWEEN ? AND ?"
        return dict(self._reader.execute(query, (self._aids.get(author, 0), from_seq, to_seq)))

    def forks(self) -> list[ForkEvidence]:
        rows = self._reader.execute("SELECT author, seq, id_a, id_b, wire_a, wire_b FROM fork")
        return [ForkEvidence(author, seq, (id_a, id_b), (a, b)) for author, seq, id_a, id_b, a, b in rows]

    def meta(self, key: str) -> bytes:
        row = self._reader.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else b""

    def set_meta(self, key: str, value: bytes) -> None:
        with self._transaction():
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

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


@contextmanager
def open_store(home: Path | Disk | None) -> Iterator[Store]:
    """The home's log, for writing; locked against every other process. None: in memory, gone at the end. Raises LedgerError."""
    if home is None:
        with closing(_connect(":memory:")) as both:
            _prepare(both)
            yield Store(both, both)
        return
    if isinstance(home, Disk):
        with _in_use(home):
            _prepare(home.connection)
            yield Store(home.connection, home.connection, home)
        return
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = home / LEDGER_FILE
    with _locked(home / LOCK_FILE), _explained(file), closing(_connect(str(file))) as writer:
        _prepare(writer)
        with closing(_connect(str(file))) as reader:
            yield Store(writer, reader)


@contextmanager
def open_read_only(path: Path) -> Iterator[Store]:
    """Another home's log, even of a running node; nothing is written. Raises LedgerError."""
    file = path / LEDGER_FILE if path.is_dir() else path
    if not file.is_file():
        raise LedgerError(f"there is no credit log at {file}")
    with _explained(file), closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as reader:
        _check_version(reader, SCHEMA_VERSION)
        yield Store(reader, reader)


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    if _check_version(connection, 0, SCHEMA_VERSION) == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    connection.execute(_DUES)


def _check_version(connection: sqlite3.Connection, *readable: int) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version not in readable:
        raise LedgerError(f"the credit log has schema {version}; this meshgen reads {SCHEMA_VERSION}")
    return version


@contextmanager
def _in_use(disk: Disk) -> Iterator[None]:
    if disk.in_use:
        raise LedgerError("another ledger uses this disk")
    disk.in_use = True
    try:
        yield
    finally:
        disk.in_use = False


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """What SQLite finds wrong with the file, in words."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"the credit log {file} can't be used: {error}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held until the process ends, however it ends."""
    with path.open("a+b") as file:
        try:
            _lock(file)
        except OSError:
            raise LedgerError(
                f"another meshgen process uses {path.parent}; stop it, or set MESHGEN_HOME to another folder"
            ) from None
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
