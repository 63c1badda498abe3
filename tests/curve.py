"""Ed25519's curve in plain integers, and signatures that no honest signer makes: what rule R1 is tried against.

-x^2 + y^2 = 1 + d x^2 y^2 modulo p. Slow, not constant in time, for tests alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
"""The order of the base point; the whole group has 8 L points."""
D = -121665 * pow(121666, -1, P) % P
_ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


class Point(NamedTuple):
    x: int
    y: int

    def __add__(self, other: Point) -> Point:  # type: ignore[override]
        product = D * self.x * other.x * self.y * other.y % P
        x = (self.x * other.y + other.x * self.y) * pow(1 + product, -1, P) % P
        y = (self.y * other.y + self.x * other.x) * pow(1 - product, -1, P) % P
        return Point(x, y)

    def __mul__(self, times: int) -> Point:  # type: ignore[override]
        result, double = ZERO, self
        while times:
            if times & 1:
                result += double
            double += double
            times >>= 1
        return result

    def encode(self) -> bytes:
        """The one canonical encoding: y, and the lowest bit of x on top."""
        return (self.y | (self.x & 1) << 255).to_bytes(32, "little")

    def encodings(self) -> Iterator[bytes]:
        """The canonical one first, then all others that a careless decoder takes for this point."""
        for y in (self.y, self.y + P):
            for sign in (self.x & 1, 1 - (self.x & 1)):
                if y < 2**255 and (sign == self.x & 1 or self.x == 0):
                    yield (y | sign << 255).to_bytes(32, "little")


ZERO = Point(0, 1)


def recover(y: int, sign: int) -> Point | None:
    """The point with this y and lowest bit of x, if there is one."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * _ROOT_OF_MINUS_1 % P
    if x * x % P != square:
        return None
    return Point(P - x if x & 1 != sign and x else x, y)


def _base() -> Point:
    point = recover(4 * pow(5, -1, P) % P, 0)
    assert point is not None
    return point


def _of_order_8() -> Point:
    for y in count(2):
        point = recover(y, 0)
        if point is not None and (point * L) * 4 != ZERO:
            return point * L
    raise AssertionError("half of all points have such a part")


BASE = _base()
TORSION = tuple(_of_order_8() * times for times in range(8))
"""The eight points of small order; the n-th is n times the second."""


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


class Key(NamedTuple):
    """``secret`` times the base point plus ``TORSION[torsion]``, as ``encoding`` says it; secret 0: of small order."""

    secret: int
    torsion: int
    encoding: bytes

    @property
    def point(self) -> Point:
        return BASE * self.secret + TORSION[self.torsion]


def make_key(secret: int, torsion: int, form: int = 0) -> Key:
    """``form``: which of its point's encodings."""
    point = BASE * secret + TORSION[torsion]
    return Key(secret, torsion, list(point.encodings())[form])


def forge(key: Key, message: bytes, *, r_torsion: int | None = None, r_secret: int | None = None, r_form: int = 0) -> bytes:
    """A signature for which s B = R + h A holds, so that RFC 8032's check takes it if it looks at nothing else.

    ``r_torsion`` and ``r_secret`` fix the parts of R; what is left open is tried until the equation holds, which for a key with
    torsion is one time in eight or sooner.
    """
    for attempt in range(1, 1000):
        secret = attempt if r_secret is None else r_secret
        for torsion in range(8) if r_torsion is None else (r_torsion,):
            encodings = list((BASE * secret + TORSION[torsion]).encodings())
            if r_form >= len(encodings):
                continue
            r = encodings[r_form]
            h = challenge(r, key.encoding, message)
            if (torsion + h * key.torsion) % 8 == 0:
                return r + ((secret + h * key.secret) % L).to_bytes(32, "little")
        if r_secret is not None:
            break
    raise LookupError("no such signature for this message")


def forge_with_cofactor(key: Key, message: bytes, r_torsion: int) -> bytes:
    """A signature for which 8 s B = 8 R + 8 h A holds and s B = R + h A does not: ZIP-215 and batch verifiers take it."""
    for secret in range(1, 1000):
        r = (BASE * secret + TORSION[r_torsion]).encode()
        h = challenge(r, key.encoding, message)
        if (r_torsion + h * key.torsion) % 8:
            return r + ((secret + h * key.secret) % L).to_bytes(32, "little")
    raise LookupError("no such signature for this message")


def holds_with_cofactor(key: Key, signature: bytes, message: bytes) -> bool:
    """What a verifier with cofactor sees, for an R in canonical form."""
    y = int.from_bytes(signature[:32], "little")
    r = recover(y & (2**255 - 1), y >> 255)
    assert r is not None
    s, h = int.from_bytes(signature[32:], "little"), challenge(signature[:32], key.encoding, message)
    return BASE * s * 8 == (r + key.point * h) * 8
