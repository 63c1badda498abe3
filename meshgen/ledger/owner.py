"""Whose credit log lies in a home: its key alone goes on there, and a home that has a log is not begun anew with another."""

from __future__ import annotations

from pathlib import Path

from meshgen.home import RETIRED_DIR, ensure_restored
from meshgen.identity import KEY_FILE, Identity, load_or_create, peer_id
from meshgen.ledger.beginning import begun_by
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.store import open_read_only

_PUT_BACK = (
    "put the right one back, from a backup (`meshgen restore`) if need be; if nobody has it any more, let the recovery key take"
    " over (`meshgen account recover --from ...`)"
)


def home_key(home: Path) -> Identity:
    """The key in use; a new home's is made. Raises as :func:`find_key` does."""
    return find_key(home) or load_or_create(home)


def find_key(home: Path) -> Identity | None:
    """The key in use; None if this home is new. Raises HomeError, IdentityError, and LedgerError if the log is another key's."""
    ensure_restored(home)
    file, owner = home / KEY_FILE, owner_of(home)
    if not file.exists():
        if owner:
            raise LedgerError(f"this home's credit log belongs to {owner}, whose key, {file}, is missing: {_PUT_BACK}")
        return None
    identity = load_or_create(home)
    if owner not in ("", identity.peer_id) and not _followed(home, owner):
        raise LedgerError(
            f"this home's credit log belongs to {owner}, and {file} is the key of another, {identity.peer_id}: {_PUT_BACK};"
            " to go on as the other, use another home"
        )
    return identity


def owner_of(home: Path) -> str:
    """A peer id; "" if no log has begun here, as far as can be read."""
    if owner := begun_by(home):
        return owner
    try:
        with open_read_only(home) as store:
            owner_key = store.meta("self")
    except (LedgerError, OSError):
        return ""
    return peer_id(owner_key) if owner_key else ""


def _followed(home: Path, owner: str) -> bool:
    """Has that key made room for the one in use, whose log is about to begin (`meshgen account rotate`, `recover`)?"""
    return (home / RETIRED_DIR / f"{owner}.key").exists()
