"""The log's SQLite file: its schema, its lock, and what is wrong with it, in words."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from meshgen.home import BEGUN_FILE
from meshgen.ledger.errors import LedgerError

SCHEMA_VERSION = 2
BUSY_MS = 5000
CHECKPOINT_PAGES = 8192
"""How long the write-ahead log grows before it is worked into the file: rarely, as that is what costs an fsync in bulk."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE author (aid INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE entry (
    aid INTEGER NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, sig BLOB NOT NULL,
    PRIMARY KEY (aid, seq)
) WITHOUT ROWID;
CREATE INDEX word ON entry (kind) WHERE kind NOT IN (1, 2, 3, 4, 14);
CREATE TABLE unjudged (aid INTEGER PRIMARY KEY, judged INTEGER NOT NULL);
CREATE TABLE pruned (aid INTEGER PRIMARY KEY, seq INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE fork (
    author BLOB NOT NULL, seq INTEGER NOT NULL,
    id_a BLOB NOT NULL, id_b BLOB NOT NULL, wire_a BLOB NOT NULL, wire_b BLOB NOT NULL,
    PRIMARY KEY (author, seq, id_a, id_b)
) WITHOUT ROWID;
CREATE TABLE branch (
    author BLOB NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, sig BLOB NOT NULL,
    PRIMARY KEY (author, seq, id)
) WITHOUT ROWID;
CREATE TABLE due (hold_id BLOB PRIMARY KEY, kind INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
"""
"""``word`` finds what is no payment: few entries, of all authors. ``unjudged`` names the chains that go on, on disk, beyond what
was judged; ``pruned`` those whose beginning is not kept; ``branch`` holds what lies off the main chains."""


def connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    return connection


def connect_read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables where there are none. Raises LedgerError for another version's."""
    connection.execute("PRAGMA journal_mode=WAL")
    if check_version(connection, 0, SCHEMA_VERSION) == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")


def is_empty(connection: sqlite3.Connection) -> bool:
    """No log, rather than one of another version."""
    query = "SELECT (SELECT COUNT(*) FROM sqlite_master), user_version FROM pragma_user_version"
    return tuple(connection.execute(query).fetchone()) == (0, 0)


def check_version(connection: sqlite3.Connection, *readable: int) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version not in readable:
        raise LedgerError(
            f"the credit log has schema {version}; this meshgen reads {SCHEMA_VERSION}. Use the version that wrote it, or another"
            " MESHGEN_HOME, whose key is a new one: this key must not begin its log twice"
        )
    return version


def why_absent(file: Path) -> str:
    """Of a log that is not there: has it not begun, or is it lost?"""
    if not (file.parent / BEGUN_FILE).exists():
        return f"there is no credit log at {file}; a log begins when the node runs for the first time"
    return (
        f"{file} is gone, or empty, and with it the credit log that this node's key has begun."
        " To begin again would pass for fraud. Bring it back from a backup, however old, even one made now that holds no log"
        " (`meshgen backup`, `meshgen restore`): other peers give back what it lacks. If nobody keeps that log, let the"
        " recovery key take over, with an export of it (`meshgen account recover --from ... --log ...`)"
    )


def check_pages(file: Path) -> None:
    """Does the file hold together, whatever is in it? Raises LedgerError."""
    with explained(file), closing(connect_read_only(file)) as reader:
        found = str(reader.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        raise LedgerError(f"the credit log {file} is damaged: {found}; restore it from a backup")


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """What SQLite finds wrong with the file, in words."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"the credit log {file} can't be used: {error}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
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
