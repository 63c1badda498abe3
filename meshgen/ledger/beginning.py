"""How a home's own chain begins: its GENESIS, and the note that there is one.

A key begins one chain, ever: a second GENESIS is a fork like any other. So a home whose log is gone says so instead of beginning
again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from meshgen.home import BEGUN_FILE, PLACE_FILE, RESTORED_FILE, read_account
from meshgen.identity import Identity, load_or_create
from meshgen.ledger.database import why_absent
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.store import LEDGER_FILE, Disk
from meshgen.protocols.credit import MAX_LABEL_BYTES, Genesis

RECOVERY_DIR = "recovery"
"""Holds the key whose hash GENESIS commits to. Its owner does well to move the folder to another place."""


def genesis(home: Path | Disk | None, identity: Identity, label: str) -> Genesis:
    """What this home's chain begins with. Raises LedgerError if its key has begun one already."""
    if not isinstance(home, Path):  # in memory there is no time to lose a key, and all stays deterministic
        return Genesis(b"", hashlib.sha256(identity.public_key).digest(), _ascii_label(label))
    if begun_by(home) == identity.peer_id:
        raise LedgerError(why_absent(home / LEDGER_FILE))
    try:
        account = read_account(home)
    except ValueError as error:
        raise LedgerError(str(error)) from None
    return Genesis(account, hashlib.sha256(load_or_create(home / RECOVERY_DIR).public_key).digest(), _ascii_label(label))


def note_beginning(home: Path | Disk | None, identity: Identity) -> None:
    """This key's chain has begun, and where it lies: to be noted before anybody else can see of it. Raises LedgerError."""
    if not isinstance(home, Path):
        return
    begun = begun_by(home) == identity.peer_id
    if begun and (is_restored(home, identity) or _first_word(home / PLACE_FILE)):
        return
    try:
        if not begun:
            (home / BEGUN_FILE).write_text(identity.peer_id + "\n", "ascii")
        _note_place(home)
    except OSError as error:
        raise LedgerError(f"{home / BEGUN_FILE} can't be written: {error.strerror}") from None


def is_restored(home: Path | Disk | None, identity: Identity) -> bool:
    """Did this key's log come from a backup, and nobody has told yet what it lacks?"""
    return isinstance(home, Path) and _first_word(home / RESTORED_FILE) == identity.peer_id


def is_copied(home: Path | Disk | None) -> bool:
    """Is this log a copy of the one that was written last: a folder moved to another disk, or a backup put back by hand?"""
    if isinstance(home, Disk):
        return home.is_copy
    return home is not None and _first_word(home / PLACE_FILE) not in ("", _place(home))


def note_recalled(home: Path | Disk | None) -> None:
    """It is known where the log ends, and from now on whether this is where it lies. Raises OSError."""
    if isinstance(home, Disk):
        home.is_copy = False
    elif home is not None:
        (home / RESTORED_FILE).unlink(missing_ok=True)
        _note_place(home)


def _note_place(home: Path) -> None:
    (home / PLACE_FILE).write_text(_place(home) + "\n", "ascii")


def _place(home: Path) -> str:
    """Of a file that is written once. The system alone sets this time: what copies a file, however faithfully, can't."""
    try:
        return str((home / BEGUN_FILE).stat().st_ctime_ns)
    except OSError:
        return "nowhere"


def begun_by(home: Path) -> str:
    """The peer whose log has begun here; "" if that was not noted."""
    return _first_word(home / BEGUN_FILE)


def _first_word(file: Path) -> str:
    try:
        return "".join(file.read_text("ascii").split()[:1])
    except (OSError, ValueError):
        return ""


def _ascii_label(label: str) -> str:
    plain = "".join(char if char.isascii() and char.isprintable() else "?" for char in label)
    return plain[:MAX_LABEL_BYTES]
