"""Where a home keeps its keys, and how they change places: never half written, never lost.

======================  ==========================================================================================
identity.key            the key in use
recovery/identity.key   the next key, to whose hash the first entry of the log commits; better kept elsewhere
recovery/next/          the key after that, made when the next one is about to come into use
identity.key.next       the next key on its way to be the one in use: whoever finds it finishes what was begun
retired/PEER_ID.key     keys that were in use once
======================  ==========================================================================================
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from meshgen.cli.faults import BadHome
from meshgen.home import ACCOUNT_FILE, INCOMING_KEY_FILE, RETIRED_DIR, HomeError
from meshgen.identity import KEY_BYTES, KEY_FILE, Identity, IdentityError, load_or_create, peer_id
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.owner import find_key, home_key

T = TypeVar("T")
RECOVERY_DIR = "recovery"
NEXT_DIR = "next"


def read_key(path: Path) -> Identity:
    """Raises BadHome unless this is a key's file."""
    try:
        seed, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise BadHome(f"{path} can't be read: {error.strerror}") from None
    if len(seed) != KEY_BYTES:
        raise BadHome(f"{path} is no key's file: it has {len(seed)} bytes instead of {KEY_BYTES}")
    if os.name == "posix" and mode & 0o077:
        raise BadHome(f"{path} can be read by others (mode {mode:04o})", f"chmod 600 '{path}'")
    return Identity.from_seed(seed)


def own_key(home: Path) -> Identity:
    """Raises BadHome if there is none."""
    path = home / KEY_FILE
    if not path.exists():
        _explained(find_key, home)
        raise BadHome(f"there is no key in {home}", "`meshgen init` makes one")
    return read_key(path)


def begin_key(home: Path) -> Identity:
    """The key in use; a new home and its key are made. Raises BadHome."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _explained(home_key, home)
    except OSError as error:
        hint = "give a folder that you may write to with --home"
        raise BadHome(f"the home {home} can't be made: {error.strerror}", hint) from None


def _explained(ask: Callable[[Path], T], home: Path) -> T:
    """Raises BadHome."""
    try:
        return ask(home)
    except (HomeError, IdentityError, LedgerError) as error:
        raise BadHome(str(error)) from None


def recovery_key(home: Path, given: str | None = None) -> Identity:
    """The next key, from the home or from where its owner keeps it."""
    path = Path(given) if given else home / RECOVERY_DIR / KEY_FILE
    if path.is_dir():
        path /= KEY_FILE
    if not path.exists():
        raise BadHome(f"there is no {path}", "bring the recovery folder back, or name the key's file with --from")
    return read_key(path)


def incoming_key(home: Path) -> Identity | None:
    """A key whose coming into use was cut off."""
    path = home / INCOMING_KEY_FILE
    return read_key(path) if path.exists() else None


def key_after_next(home: Path) -> Identity:
    """Made when first asked for, and the same until it is the next one."""
    try:
        return load_or_create(home / RECOVERY_DIR / NEXT_DIR)
    except IdentityError as error:
        raise BadHome(str(error)) from None


def set_out(home: Path, incoming: Identity) -> None:
    """The first half: the incoming key, the one in use and the recovery key are safe under other names."""
    keep_aside(home, home / KEY_FILE)
    write_durably(home / INCOMING_KEY_FILE, incoming.seed)


def arrive(home: Path) -> Identity:
    """The second half; done again after a crash, it ends the same. The incoming key is in use, the key after it is the next."""
    incoming = incoming_key(home)
    assert incoming is not None
    after = home / RECOVERY_DIR / NEXT_DIR / KEY_FILE
    if after.exists():
        old = home / RECOVERY_DIR / KEY_FILE
        if old.exists() and read_key(old) != incoming:
            keep_aside(home, old)
        after.replace(old)
        sync_folder(old.parent)
    (home / INCOMING_KEY_FILE).replace(home / KEY_FILE)
    sync_folder(home)
    with contextlib.suppress(OSError):
        (home / RECOVERY_DIR / NEXT_DIR).rmdir()
    return incoming


def keep_aside(home: Path, path: Path) -> None:
    """A copy of a key under the name of its peer, if there is such a key."""
    if not path.exists():
        return
    key = read_key(path)
    aside = home / RETIRED_DIR / f"{key.peer_id}.key"
    if not aside.exists():
        write_durably(aside, key.seed)


def write_account(home: Path, account: bytes, kin: bytes = b"") -> None:
    """``kin`` is a device that is in the account, whose log tells of it."""
    lines = [account.hex(), *([peer_id(kin)] if kin else [])]
    write_durably(home / ACCOUNT_FILE, "".join(f"{line}\n" for line in lines).encode())


def write_durably(path: Path, data: bytes) -> None:
    """Mode 0600, whole or not at all, and on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """A rename survives a power cut once its folder is on the disk. Windows has no such call, and needs none."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
