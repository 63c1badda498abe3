"""The key that the members of a private mesh share: ``mesh.key`` in the home, mode 0600, in the form that all libp2p read.

It is in no settings, no log line and no status. Without it a connection does not come as far as a handshake.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from meshgen.peers.charter_file import CharterError

MESH_KEY_FILE = "mesh.key"
KEY_BYTES = 32
_FORM = "/key/swarm/psk/1.0.0/\n/base16/\n"


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def mesh_key(home: Path) -> bytes | None:
    """The home's key; None if its mesh is open to all. Raises CharterError if the file can't be trusted."""
    file = home / MESH_KEY_FILE
    try:
        mode, text = stat.S_IMODE(file.stat().st_mode), file.read_text("ascii")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise CharterError(f"{file} can't be read; join the mesh again with its invite line") from None
    if os.name == "posix" and mode & 0o077:
        raise CharterError(f"{file} can be read by others (mode {mode:04o}); run: chmod 600 '{file}'")
    return parse_key(text, str(file))


def parse_key(text: str, source: str) -> bytes:
    """Raises CharterError, which shows nothing of the text."""
    head, digits = text.strip()[: len(_FORM)], text.strip()[len(_FORM) :]
    try:
        key = bytes.fromhex(digits) if head == _FORM else b""
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise CharterError(f"{source} holds no mesh's key: /key/swarm/psk/1.0.0/, /base16/ and 64 hex digits, a line each")
    return key


def render_key(key: bytes) -> str:
    return f"{_FORM}{key.hex()}\n"


def keep_key(home: Path, key: bytes) -> None:
    """Mode 0600 from its first byte on, and whole or not at all."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = home / f".{MESH_KEY_FILE}.{os.getpid()}"
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(render_key(key))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(home / MESH_KEY_FILE)


def drop_key(home: Path) -> None:
    (home / MESH_KEY_FILE).unlink(missing_ok=True)
