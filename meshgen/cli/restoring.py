"""How a backup becomes a home: all of it beside the home's files first, checked; then each file into its place, the key last.

Cut off before the places change, nothing has happened. Cut off later, the home says so to whoever would run it (RESTORING_DIR),
and the same restore, done again, ends it. The note that the log may be old goes before the log: at no moment does it look newer.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from meshgen.cli.backing import Manifest, ensure_own, files_of, own_entries, unpack
from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.keyfiles import read_key, sync_folder, write_durably
from meshgen.cli.strongbox import Line, StrongboxError
from meshgen.gateway.runfile import read_run
from meshgen.home import HOME_VERSION, PLACE_FILE, RESTORED_FILE, RESTORING_DIR
from meshgen.identity import KEY_FILE
from meshgen.ledger.database import connect_read_only, locked
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.store import LEDGER_FILE, LOCK_FILE

REPLACED_DIR = "replaced"
_COMPANIONS = (f"{LEDGER_FILE}-wal", f"{LEDGER_FILE}-shm")


def restore_home(
    home: Path, file: Path, passphrase: Callable[[], str], *, force: bool, newest: bool
) -> tuple[Manifest, Path | None]:
    """What was restored, and where that lies which it replaced, if anything. Raises Fault, BadHome, OSError.

    ``passphrase`` is asked for if the backup is sealed.
    """
    ensure_own(home)
    with _staged(home, file, passphrase) as (manifest, staged):
        _check_log(staged, manifest)
        with _unused(home):
            is_other = _check_home(home, manifest, force)
            if not newest:
                (staged / RESTORED_FILE).write_text(f"{manifest.peer} {manifest.entries} {manifest.made}\n", "ascii")
            shutil.rmtree(home / RESTORING_DIR, ignore_errors=True)
            staged.replace(home / RESTORING_DIR)
            return manifest, _place(home, home / RESTORING_DIR, is_other)


@contextmanager
def _staged(home: Path, file: Path, passphrase: Callable[[], str]) -> Iterator[tuple[Manifest, Path]]:
    """The backup's files in a folder of the home's file system; gone at the end, unless somebody moved it."""
    is_new = not home.exists()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(prefix=".restore-", dir=home))
    try:
        yield _read(file, passphrase, folder), folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if is_new and not any(home.iterdir()):
            home.rmdir()


def _read(file: Path, passphrase: Callable[[], str], folder: Path) -> Manifest:
    try:
        with file.open("rb") as opened:
            line = Line.read(opened)
            manifest = unpack(opened, line, passphrase() if line.sealed else None, folder)
    except FileNotFoundError:
        raise Fault(f"there is no {file}") from None
    except StrongboxError as error:
        raise Fault(f"{file} can't be restored: {error}", "nothing was changed; try another backup", code="bad_backup") from None
    if manifest.home_version > HOME_VERSION:
        raise Fault(f"{file} was made by meshgen {manifest.meshgen}, newer than this one", "restore it with that version")
    return manifest


def _check_log(staged: Path, manifest: Manifest) -> None:
    """Is it the log of the key that is in the backup, whole, and as long as it says?"""
    key = read_key(staged / KEY_FILE)
    log = staged / LEDGER_FILE
    why = "" if key.peer_id == manifest.peer else "its key is another than it says"
    try:
        if log.exists() and not why:
            with closing(connect_read_only(log)) as database:
                sound = database.execute("PRAGMA quick_check").fetchone()[0] == "ok"
            if not sound or own_entries(log, key) != manifest.entries:
                why = "its credit log is damaged"
    except (sqlite3.Error, LedgerError) as error:
        why = f"its credit log can't be used: {error}"
    if why:
        raise Fault(f"the backup can't be restored: {why}", "nothing was changed; try another one", code="bad_backup")


@contextmanager
def _unused(home: Path) -> Iterator[None]:
    run = read_run(home)
    if run is not None and run.alive():
        raise Fault("the node of this home runs", "stop it first: meshgen stop", code="running")
    try:
        with locked(home / LOCK_FILE):
            yield
    except LedgerError as error:
        raise Fault(str(error), code="running") from None


def _check_home(home: Path, manifest: Manifest, force: bool) -> bool:
    """Is the home another key's? Raises BadHome where something would be lost that nobody said may be."""
    if not (home / KEY_FILE).exists():
        return False
    key = read_key(home / KEY_FILE)
    if key.peer_id != manifest.peer:
        if not force:
            hint = "restore into another home (--home), or put that key aside with --force"
            raise BadHome(f"{home} has the key of {key.peer_id}; the backup is {manifest.peer}'s", hint, code="other_key")
        return True
    try:
        held = own_entries(home / LEDGER_FILE, key)
    except (sqlite3.Error, LedgerError):
        return False  # there is none, or it can't be used: that is what backups are for
    if held > manifest.entries and not force:
        text = f"{home} has a log of {held} own entries, the backup one of {manifest.entries}: others may have seen what it lacks"
        raise BadHome(text, "if the longer one is of no use all the same: --force; it is kept aside", code="longer_log")
    return False


def _place(home: Path, staged: Path, is_other: bool) -> Path | None:
    """The note first, then what was there goes aside, then the files, the key last."""
    names = {path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()}
    leaving = names | (_all_of(home) if is_other else set())
    if LEDGER_FILE in leaving:
        leaving.update(_COMPANIONS)  # they would be taken for the new one's
    aside = home / REPLACED_DIR / time.strftime("%Y%m%d-%H%M%S")
    if RESTORED_FILE in names:
        _move(staged, home, [RESTORED_FILE])
    others = sorted(leaving - {RESTORED_FILE, KEY_FILE})
    moved = _move(home, aside, others)
    _move(staged, home, others)
    if is_other:  # at every moment there is a key: without one, others would make one
        write_durably(aside / KEY_FILE, read_key(home / KEY_FILE).seed)
    _move(staged, home, [KEY_FILE])
    if RESTORED_FILE not in names:
        (home / RESTORED_FILE).unlink(missing_ok=True)
    (home / PLACE_FILE).unlink(missing_ok=True)  # of the log that was here
    shutil.rmtree(staged)
    sync_folder(home)
    return aside if moved or is_other else None


def _all_of(home: Path) -> set[str]:
    return {LEDGER_FILE, *files_of(home)}


def _move(source: Path, target: Path, names: Iterable[str]) -> int:
    """Those that are there; how many."""
    moved = [name for name in names if (source / name).exists()]
    for name in moved:
        (target / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (source / name).replace(target / name)
        sync_folder((target / name).parent)
    return len(moved)
