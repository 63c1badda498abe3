"""A backup's file: one line that says what it is, then its content, sealed with a passphrase or not, in a stream.

    meshgen-backup 1 {"nonce": "7 bytes", "salt": "16 bytes", "scrypt": 17}\\n
    chunk: up to 1 MiB sealed with ChaCha20-Poly1305, 16 bytes longer than what is in it

The key comes from the passphrase by scrypt (N = 2^scrypt, r = 8, p = 1). A chunk's nonce is the line's, its number (4 bytes) and
a byte that is 1 for the last chunk alone, so that none can be left out, moved or cut off; the line is sealed along. Without a
passphrase the line ends with {} and the content follows as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

MAGIC = b"meshgen-backup"
FORMAT = 1
MAX_LINE = 256
CHUNK = 2**20
TAG = 16
COST = 17
"""scrypt takes 128 MiB and about half a second."""
MIN_COST, MAX_COST = 10, 18
_SALT, _NONCE = 16, 7


class StrongboxError(Exception):
    """The file can't be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """The first line. ``cost`` 0: not sealed."""

    raw: bytes
    cost: int = 0
    salt: bytes = b""
    nonce: bytes = b""

    @property
    def sealed(self) -> bool:
        return self.cost > 0

    @classmethod
    def new(cls, *, sealed: bool, cost: int = COST) -> Line:
        salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
        values = {"nonce": nonce.hex(), "salt": salt.hex(), "scrypt": cost} if sealed else {}
        raw = b"%s %d %s\n" % (MAGIC, FORMAT, json.dumps(values).encode())
        return cls(raw, cost, salt, nonce) if sealed else cls(raw)

    @classmethod
    def read(cls, file: IO[bytes]) -> Line:
        """Raises StrongboxError."""
        raw = file.readline(MAX_LINE)
        words = raw.split(b" ", 2)
        if len(words) != 3 or words[0] != MAGIC or not raw.endswith(b"\n"):
            raise StrongboxError("this is no backup of meshgen's")
        if words[1] != b"%d" % FORMAT:
            raise StrongboxError("this backup was made by a newer meshgen, which alone can read it")
        try:
            values = json.loads(words[2])
            if values == {}:
                return cls(raw)
            line = cls(raw, int(values["scrypt"]), bytes.fromhex(values["salt"]), bytes.fromhex(values["nonce"]))
        except (ValueError, KeyError, TypeError):
            raise StrongboxError("its first line is damaged") from None
        if not MIN_COST <= line.cost <= MAX_COST or (len(line.salt), len(line.nonce)) != (_SALT, _NONCE):
            raise StrongboxError("its first line is damaged")
        return line

    def cipher(self, passphrase: str) -> ChaCha20Poly1305:
        n = 2**self.cost
        return ChaCha20Poly1305(hashlib.scrypt(passphrase.encode(), salt=self.salt, n=n, r=8, p=1, maxmem=2**30, dklen=32))

    def nonce_of(self, number: int, last: bool) -> bytes:
        return self.nonce + number.to_bytes(4) + bytes([last])


class Sealing:
    """A file to write to. Nothing is whole before :meth:`finish`."""

    def __init__(self, file: IO[bytes], passphrase: str | None, cost: int = COST) -> None:
        self._file = file
        self._line = Line.new(sealed=passphrase is not None, cost=cost)
        self._cipher = None if passphrase is None else self._line.cipher(passphrase)
        self._held = bytearray()
        self._number = 0
        file.write(self._line.raw)

    def write(self, data: bytes) -> int:
        if self._cipher is None:
            return self._file.write(data)
        self._held += data
        while len(self._held) > CHUNK:  # the last chunk is known only when all is said
            self._seal(bytes(self._held[:CHUNK]), last=False)
            del self._held[:CHUNK]
        return len(data)

    def finish(self) -> None:
        if self._cipher is not None:
            self._seal(bytes(self._held), last=True)

    def _seal(self, chunk: bytes, last: bool) -> None:
        assert self._cipher is not None
        self._file.write(self._cipher.encrypt(self._line.nonce_of(self._number, last), chunk, self._line.raw))
        self._number += 1


class Unsealing:
    """A file to read from. Raises StrongboxError where it does not hold."""

    def __init__(self, file: IO[bytes], line: Line, passphrase: str | None) -> None:
        self._file = file
        self._line = line
        self._cipher = line.cipher(passphrase or "") if line.sealed else None
        self._next = file.read(CHUNK + TAG) if line.sealed else b""
        self._open = b""
        self._number = 0

    def read(self, size: int = -1) -> bytes:
        """At most so much, less only at the end."""
        if self._cipher is None:
            return self._file.read(size)
        found = [self._take(size)]
        while self._next and (size < 0 or sum(map(len, found)) < size):
            self._unseal()
            found.append(self._take(size - sum(map(len, found)) if size >= 0 else -1))
        return b"".join(found)

    def _take(self, size: int) -> bytes:
        taken = self._open if size < 0 else self._open[:size]
        self._open = self._open[len(taken) :]
        return taken

    def _unseal(self) -> None:
        assert self._cipher is not None
        chunk, self._next = self._next, self._file.read(CHUNK + TAG)
        try:
            self._open += self._cipher.decrypt(self._line.nonce_of(self._number, not self._next), chunk, self._line.raw)
        except InvalidTag:
            why = "it is damaged or cut off" if self._number else "the passphrase is another one, or the file is damaged"
            raise StrongboxError(why) from None
        self._number += 1
