"""What a backup holds, and how it is read: a tar in a strongbox, its manifest first, which names every file with its hash.

Everything that a home can't get back from elsewhere: keys, settings, charter, credit log, lists. No weights, no pictures, nothing
of the running node. The log is copied as SQLite does it, whole, while its node goes on writing.
"""

from __future__ import annotations

import errno
import getpass
import hashlib
import io
import json
import os
import re
import sqlite3
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import click

from meshgen import __version__
from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.keyfiles import own_key
from meshgen.cli.strongbox import COST, Line, Sealing, StrongboxError, Unsealing
from meshgen.home import HOME_VERSION, INCOMING_KEY_FILE, PLACE_FILE, RESTORED_FILE, RESTORING_DIR, TOKEN_FILE, home_version
from meshgen.identity import KEY_FILE, Identity, public_key_of
from meshgen.ledger.database import connect_read_only
from meshgen.ledger.errors import Absent, LedgerError
from meshgen.ledger.store import LEDGER_FILE, LOCK_FILE, open_read_only

MANIFEST = "manifest.json"
MAX_MANIFEST = 2**20
MAX_FILE = 8 * 2**20
"""Of the small ones; what is larger is no list of anybody's."""
MAX_FILES = 4096
FOLDERS = ("charter", "recovery", "retired", "roll")
_OWN = {LOCK_FILE, TOKEN_FILE, RESTORED_FILE, PLACE_FILE, MANIFEST}
_PASSING = re.compile(r"\..*|.*\.new|.*\.tmp|.*\.log(\.\d+)?|ledger\.db.*")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}){0,3}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """``entries``: where the home's own log ended. ``files``: name -> (size, SHA-256 in hex)."""

    peer: str
    entries: int
    made_ms: int
    files: Mapping[str, tuple[int, str]]
    home_version: int = HOME_VERSION
    meshgen: str = __version__
    left_out: tuple[str, ...] = field(default=())

    @property
    def made(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.made_ms / 1000))

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Raises StrongboxError."""
        try:
            found = json.loads(data)
            files = {str(name): (int(size), str(digest)) for name, (size, digest) in found["files"].items()}
            public_key_of(found["peer"])
            made = cls(
                found["peer"],
                int(found["entries"]),
                int(found["made_ms"]),
                files,
                int(found["home_version"]),
                str(found["meshgen"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StrongboxError("its list of files is damaged") from None
        if not all(map(_NAME.fullmatch, files)) or len(files) > MAX_FILES or KEY_FILE not in files:
            raise StrongboxError("its list of files is no backup's")
        return made


def ensure_own(home: Path) -> None:
    """Files that root makes in a service's home would be in its node's way. Raises BadHome."""
    if os.name == "posix" and home.exists() and (owner := home.stat().st_uid) != os.geteuid():
        raise BadHome(
            f"{home} belongs to another user", f"run this as that user: sudo -u '#{owner}' {sys.executable} -m meshgen ..."
        )


# -- making one


def make_backup(home: Path, target: Path, passphrase: str | None, cost: int = COST) -> Manifest:
    """Whole or not at all, mode 0600. Raises BadHome, Fault."""
    identity = own_key(home)
    ensure_own(home)
    for name, cure in ((INCOMING_KEY_FILE, "`meshgen account rotate` (or recover)"), (RESTORING_DIR, "`meshgen restore`")):
        if (home / name).exists():
            raise BadHome("a change of this home was cut off", f"{cure} goes on from there; make the backup then")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, tempfile.TemporaryDirectory(dir=target.parent) as folder:
            manifest = _write(file, home, identity, Path(folder) / LEDGER_FILE, passphrase, cost)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return manifest


def _write(file: IO[bytes], home: Path, identity: Identity, log: Path, passphrase: str | None, cost: int) -> Manifest:
    small, left_out = _small_files(home)
    entries = _copy_log(home, identity, log)
    files = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in small.items()}
    if log.exists():
        files[LEDGER_FILE] = (log.stat().st_size, digest_of(log))
    made_ms = time.time_ns() // 1_000_000
    manifest = Manifest(identity.peer_id, entries, made_ms, files, home_version(home), left_out=left_out)
    box = Sealing(file, passphrase, cost)
    with tarfile.open(fileobj=cast("IO[bytes]", box), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, data in {MANIFEST: manifest.encode(), **small}.items():
            tar.addfile(_member(name, len(data)), io.BytesIO(data))
        if log.exists():
            with log.open("rb") as opened:
                tar.addfile(_member(LEDGER_FILE, log.stat().st_size), opened)
    box.finish()
    return manifest


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _small_files(home: Path) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """(name -> content, what is too large)."""
    found, left_out = {}, []
    for name in sorted(files_of(home)):
        if (home / name).stat().st_size > MAX_FILE:
            left_out.append(name)
        else:
            found[name] = (home / name).read_bytes()
    return found, tuple(left_out)


def files_of(home: Path) -> Iterator[str]:
    """What a backup holds of this home, beside its log."""
    folders = [folder for name in FOLDERS for folder in (home / name, home / name / "next") if folder.is_dir()]
    for file in (file for folder in (home, *folders) for file in folder.iterdir()):
        name = file.relative_to(home).as_posix()
        plain = file.is_file() and not file.is_symlink() and _NAME.fullmatch(name)
        if plain and name not in _OWN and not _PASSING.fullmatch(file.name):
            yield name


def _copy_log(home: Path, identity: Identity, copy: Path) -> int:
    """Into one file that needs no other beside it. How many own entries are in it. Raises BadHome, OSError."""
    if not (home / LEDGER_FILE).exists():
        return 0
    try:
        with closing(connect_read_only(home / LEDGER_FILE)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
        return own_entries(copy, identity)
    except Absent:  # an empty file, which is not to be carried on
        copy.unlink()
        return 0
    except (sqlite3.Error, LedgerError) as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:  # where the copy is written, not in the home
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(copy)) from None
        raise BadHome(f"the credit log can't be copied: {error}") from None


def own_entries(log: Path, identity: Identity) -> int:
    """Raises LedgerError if it is another key's log, or damaged."""
    with open_read_only(log) as store:
        owner = store.meta("self")
        if owner not in (b"", identity.public_key):
            raise LedgerError("it is another key's log, or the key has just changed")
        return store.end(identity.public_key).seq


def digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# -- reading one


def unpack(file: IO[bytes], line: Line, passphrase: str | None, into: Path) -> Manifest:
    """All files into an empty folder, each as the manifest has it. Raises StrongboxError, OSError."""
    box = Unsealing(file, line, passphrase)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", box), mode="r|") as tar:
            members = iter(tar)
            first = next(members, None)
            if first is None or first.name != MANIFEST or first.size > MAX_MANIFEST:
                raise StrongboxError("it has no list of its files")
            manifest = Manifest.decode(_content(tar, first).read())
            for member in members:
                _unpack_one(tar, member, manifest, into)
    except tarfile.TarError:
        raise StrongboxError("it is damaged or cut off") from None
    if missing := [name for name in manifest.files if not (into / name).is_file()]:
        raise StrongboxError(f"{missing[0]} is missing in it")
    return manifest


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = tar.extractfile(member)
    if found is None:
        raise StrongboxError(f"{member.name[:80]!r} in it is no file")
    return found


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, manifest: Manifest, into: Path) -> None:
    size, digest = manifest.files.get(member.name, (-1, ""))
    target = into / member.name if size >= 0 else into
    if size < 0 or member.size != size or target.exists() or not member.isreg():
        raise StrongboxError(f"{member.name[:80]!r} is in it, and not as its list says")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = _content(tar, member)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        hashed: Any = hashlib.sha256()
        while chunk := content.read(2**20):
            written.write(chunk)
            hashed.update(chunk)
        written.flush()
        os.fsync(written.fileno())
    if hashed.hexdigest() != digest:
        raise StrongboxError(f"{member.name} in it is damaged")


# -- the passphrase


def ask_passphrase(*, twice: bool = False) -> str:
    """Raises Fault where there is no terminal: asked there, it would be seen, or read from the wrong input."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True))
        except getpass.GetPassWarning:
            cure = "write it into a file that you alone may read, and give that: --passphrase-file FILE"
            raise Fault("there is no terminal to ask for the passphrase at", cure) from None


def read_passphrase(file: str) -> str:
    """The first line of a file. Raises Fault."""
    try:
        with Path(file).open(encoding="utf-8") as opened:
            return opened.readline(1024).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"the passphrase can't be read from {file}: {error}") from None
