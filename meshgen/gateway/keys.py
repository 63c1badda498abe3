"""Keys that open this node's API: the owner's, and those that the owner shares with a household or a class.

The owner's lies in ``HOME/api.key`` and lasts, as clients keep it; shared ones in ``HOME/keys.json`` with their limits and what
they have used. As on AI Horde a shared key's id is the key itself, so both files are for the owner's eyes (mode 0600).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from meshgen.gateway.callers import ANONYMOUS, ANONYMOUS_KEY, OWNER, Caller, KeyLimit
from meshgen.gateway.runfile import write_private
from meshgen.home import KEY_FILE, SHARED_KEYS_FILE

KEY_BYTES = 16
"""Of randomness: 22 characters, as AI Horde's have."""
MAX_KEYS = 1000
UNLIMITED = -1
DAY_MS = 24 * 3600 * 1000


class KeyRingError(Exception):
    """The keys can't be read or kept; the text says which file and what to do."""


@dataclass(frozen=True, slots=True)
class SharedKey:
    """What its bearer may spend of the owner's credit. -1 = no limit."""

    id: str
    name: str = ""
    kudos: int = UNLIMITED
    expires_ms: int = UNLIMITED
    max_image_pixels: int = UNLIMITED
    max_image_steps: int = UNLIMITED
    max_text_tokens: int = UNLIMITED
    used_mkudos: int = 0

    @property
    def caller(self) -> Caller:
        return Caller("shared", digest(self.id).hex()[:16], self.name)


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


class KeyRing:
    """Implements Keys. Every change is on the disk before it counts; ``home`` None keeps all in memory."""

    def __init__(
        self,
        home: Path | None = None,
        *,
        anonymous: bool = False,
        now_ms: Callable[[], int] = _system_ms,
    ) -> None:
        """``anonymous``: other machines may use the anonymous key too. Raises KeyRingError."""
        self.owner_key = load_or_make_key(home) if home else secrets.token_urlsafe(KEY_BYTES)
        self._owner = digest(self.owner_key)
        self._anonymous = anonymous
        self._now_ms = now_ms
        self._file = home / SHARED_KEYS_FILE if home else None
        self._lock = threading.Lock()
        self._shared = {key.caller.key_id: key for key in _read(self._file)} if self._file else {}
        self.pending: Callable[[Caller], int] = lambda _: 0
        """What that caller's jobs under way may still cost, milli-kudos: set by whoever keeps them."""

    # -- Keys

    def caller(self, key: str, *, local: bool) -> Caller | None:
        if key == ANONYMOUS_KEY:
            return ANONYMOUS if local or self._anonymous else None
        found = digest(key)
        if hmac.compare_digest(found, self._owner):
            return OWNER
        shared = self._shared.get(found.hex()[:16])
        return shared.caller if shared and hmac.compare_digest(shared.id, key) else None

    def check(self, caller: Caller, *, pixels: int = 0, steps: int = 0, tokens: int = 0, mkudos: int = 0) -> None:
        if caller.kind != "shared":
            return
        key = self._shared.get(caller.key_id)
        if key is None:
            raise KeyLimit("SharedKeyInvalid", "This shared key is no longer valid.")
        if key.expires_ms != UNLIMITED and key.expires_ms <= self._now_ms():
            raise KeyLimit("SharedKeyExpired", "This shared key has expired.")
        for asked, most, what in (
            (pixels, key.max_image_pixels, "pixels per image"),
            (steps, key.max_image_steps, "steps per image"),
            (tokens, key.max_text_tokens, "tokens per text"),
        ):
            if most != UNLIMITED and asked > most:
                raise KeyLimit("SharedKeyInvalid", f"This shared key allows {most} {what}, and {asked} were asked for.")
        left = self.left(caller)
        if left is not None:
            _check_kudos(left, mkudos)

    def left(self, caller: Caller) -> int | None:
        key = self._shared.get(caller.key_id) if caller.kind == "shared" else None
        return None if key is None or key.kudos == UNLIMITED else key.kudos * 1000 - key.used_mkudos - self.pending(caller)

    def charge(self, caller: Caller, mkudos: int) -> None:
        """Counts in this run even where it can't be written down. Raises KeyRingError."""
        with self._lock:
            if mkudos > 0 and (key := self._shared.get(caller.key_id)):
                charged = self._shared | {caller.key_id: replace(key, used_mkudos=key.used_mkudos + mkudos)}
                try:
                    self._keep(charged)
                finally:
                    self._shared = charged

    # -- the owner's

    def shared(self) -> list[SharedKey]:
        """Oldest first."""
        return list(self._shared.values())

    def find(self, id: str) -> SharedKey | None:
        return self._shared.get(SharedKey(id).caller.key_id)

    def share(self, **limits: Any) -> SharedKey:
        """Make a key with SharedKey's limits. Raises KeyRingError."""
        key = SharedKey(str(uuid.uuid4()), **limits)
        with self._lock:
            if len(self._shared) >= MAX_KEYS:
                raise KeyRingError(f"there are {MAX_KEYS} shared keys already; remove one first")
            self._keep(self._shared | {key.caller.key_id: key})
        return key

    def change(self, id: str, **limits: Any) -> SharedKey:
        """Raises KeyError, KeyRingError."""
        with self._lock:
            key_id = SharedKey(id).caller.key_id
            key = replace(self._shared[key_id], **limits)
            self._keep(self._shared | {key_id: key})
        return key

    def remove(self, id: str) -> None:
        """Raises KeyError, KeyRingError."""
        with self._lock:
            key_id = SharedKey(id).caller.key_id
            if key_id not in self._shared:
                raise KeyError(id)
            self._keep({other: key for other, key in self._shared.items() if other != key_id})

    def expiry(self, days: int) -> int:
        return UNLIMITED if days == UNLIMITED else self._now_ms() + days * DAY_MS

    def _keep(self, keys: Mapping[str, SharedKey]) -> None:
        if self._file:
            try:
                write_private(self._file, json.dumps({"version": 1, "keys": [asdict(key) for key in keys.values()]}, indent=1))
            except OSError as error:
                raise KeyRingError(f"{self._file} can't be written: {error.strerror}") from None
        self._shared = dict(keys)


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def faults_of(home: Path) -> Iterator[str]:
    """What is wrong with the files that are there, and how to mend it; makes none."""
    for path, read in ((home / KEY_FILE, _read_own), (home / SHARED_KEYS_FILE, _read)):
        if not path.exists():
            continue
        try:
            read(path)
        except (KeyRingError, OSError, UnicodeDecodeError) as error:
            yield str(error)
        mode = stat.S_IMODE(path.stat().st_mode)
        if os.name == "posix" and mode & 0o077:
            yield f"{path} can be read by others (mode {mode:04o}); run: chmod 600 '{path}'"


def load_or_make_key(home: Path) -> str:
    """The owner's key. Raises KeyRingError."""
    path = home / KEY_FILE
    try:
        if path.exists():
            return _read_own(path)
        key = secrets.token_urlsafe(KEY_BYTES)
        write_private(path, key + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyRingError(f"{path}, this node's API key, can't be read or made: {error}") from None
    return key


def _read_own(path: Path) -> str:
    """Owners may write a key of their own. Raises KeyRingError, OSError, UnicodeDecodeError."""
    key = path.read_text("ascii").strip()
    if not 16 <= len(key) <= 256 or any(not letter.isalnum() and letter not in "-_" for letter in key):
        raise KeyRingError(f"{path} holds no key (16 to 256 letters, digits, - and _); remove it to have a new one made")
    return key


def _check_kudos(left: int, mkudos: int) -> None:
    if left <= 0:
        raise KeyLimit("SharedKeyEmpty", "This shared key has run out of kudos.")
    if mkudos > left:
        words = f"This shared key has {left / 1000:g} kudos left, and this may cost {mkudos / 1000:g}."
        raise KeyLimit("SharedKeyInsufficientKudos", words)


def _read(path: Path) -> list[SharedKey]:
    try:
        rows = json.loads(path.read_text())["keys"]
        return [_key(row) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise KeyRingError(f"{path} is damaged; mend it, or remove it: all shared keys go with it") from None


def _key(row: Mapping[str, Any]) -> SharedKey:
    key = SharedKey(**row)
    if any(type(getattr(key, field.name)) is not (str if field.name in ("id", "name") else int) for field in fields(key)):
        raise ValueError("a field of another type")
    return key
