"""Who a peer is: an Ed25519 key, its file, its peer id, and the one rule by which every signature in the mesh is judged (R1).

R1 stands in front of ``cryptography``'s verify, because that checks nothing about the key: a small-order key exists for which one
signature is valid for *every* message. Every verifier of the mesh must accept the same set, so nobody may use another library's
batch or ZIP-215 verification instead.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import base58
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from nacl.bindings import crypto_core_ed25519_is_valid_point

KEY_BYTES = 32
SIGNATURE_BYTES = 64
KEY_FILE = "identity.key"
_PEER_ID_PREFIX = bytes.fromhex("002408011220")  # identity multihash of the protobuf (type Ed25519, 32 bytes)
_IDENTITY_POINT = bytes([1]) + bytes(31)


class IdentityError(Exception):
    """The key file can't be used; the text says why and how to mend it."""


@lru_cache(maxsize=65536)
def peer_id(public_key: bytes) -> str:
    """The libp2p peer id (base58 text) of a 32-byte Ed25519 public key. Cached: base58 is slow."""
    if len(public_key) != KEY_BYTES:
        raise ValueError(f"a public key has {KEY_BYTES} bytes, not {len(public_key)}")
    return str(base58.b58encode(_PEER_ID_PREFIX + public_key), "ascii")


@lru_cache(maxsize=65536)
def public_key_of(peer: str) -> bytes:
    """The public key inside a peer id. Raises ValueError if it is not an Ed25519 peer id. Cached, as above."""
    raw = base58.b58decode(peer) if len(peer) <= 64 else b""
    if len(raw) != len(_PEER_ID_PREFIX) + KEY_BYTES or not raw.startswith(_PEER_ID_PREFIX):
        raise ValueError("not an Ed25519 peer id")
    key = raw[len(_PEER_ID_PREFIX) :]
    if peer_id(key) != peer:  # base58.b58decode forgives white space
        raise ValueError("not the one way to write this peer id")
    return key


@lru_cache(maxsize=65536)
def is_sound_key(public_key: bytes) -> bool:
    """Canonical, on the curve, not the identity, of prime order. Cached: it costs 50 us, once per author."""
    return len(public_key) == KEY_BYTES and bool(crypto_core_ed25519_is_valid_point(public_key))


@lru_cache(maxsize=4096)
def _loaded(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Rule R1: is ``signature`` by ``public_key`` over ``message``? Never raises for bytes of any content or length."""
    if len(signature) != SIGNATURE_BYTES or signature[:32] == _IDENTITY_POINT or not is_sound_key(public_key):
        return False
    try:
        _loaded(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key in use. Its repr never shows the secret."""

    seed: bytes = field(repr=False)  # 32 bytes: RFC 8032's secret key
    public_key: bytes
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(seed, private.public_key().public_bytes_raw(), private)

    @property
    def peer_id(self) -> str:
        return peer_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def load_or_create(home: Path) -> Identity:
    """The identity of a node's home; made on first run with mode 0600. Raises IdentityError if it can't be trusted."""
    path = home / KEY_FILE
    try:
        if not path.exists():
            _create(path)
        mode, seed = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
    except OSError as error:
        raise IdentityError(f"{path} can't be used: {error.strerror}") from error
    if os.name == "posix" and mode & 0o077:
        raise IdentityError(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 '{path}'")
    if len(seed) != KEY_BYTES:
        wrong = f"{path} holds {len(seed)} bytes instead of {KEY_BYTES}"
        raise IdentityError(f"{wrong}; restore it from a backup, or move it away to start as a new peer")
    return Identity.from_seed(seed)


def _create(path: Path) -> None:
    """Written beside and linked into place, so that a crash leaves either no key or a whole one, and no race overwrites one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first; its key is the one
            path.hardlink_to(beside)
    finally:
        beside.unlink(missing_ok=True)
