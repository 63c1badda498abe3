"""Chance on a lead: while :func:`seeded` is entered, everything that this process draws follows from one number.

Three sources are replaced. ``os.urandom``, and with it ``secrets``: nonces, salts, job ids. The keys that work is sealed with,
which the crypto library draws inside. trio's scheduler, which shuffles the tasks that are ready at one instant; its generator is
private, and Hypothesis' plugin for trio takes the same way.

What is pure is done once: signatures are judged by rule R1 and signed messages decoded as ever, but thirty peers that hear one
advert share the work.

For simulations alone: keys and nonces that follow from a seed protect nothing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any
from unittest.mock import patch

import trio
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from meshgen import identity
from meshgen.protocols import envelope, record, sealing
from meshgen.testing.hpke import hpke_seal


@contextmanager
def seeded(seed: int | str) -> Iterator[random.Random]:
    """From here on the process draws from ``seed``. Gives the generator behind it. Restores everything at the end."""
    rng = random.Random(f"meshgen/{seed}")
    scheduler = trio._core._run
    before = scheduler._r.getstate()
    with ExitStack() as patches:
        for target, name, twin in (
            (os, "urandom", rng.randbytes),
            (random, "_urandom", rng.randbytes),
            (sealing, "_SUITE", _SeededSuite(rng)),
            (sealing.SealKey, "generate", lambda: sealing.SealKey.from_bytes(rng.randbytes(32))),
            (identity, "_loaded", lru_cache(maxsize=4096)(_Key)),
            (envelope, "decode_any", lru_cache(maxsize=4096)(record.decode_any)),
            (scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        ):
            patches.enter_context(patch.object(target, name, twin))
        scheduler._r.seed(f"scheduler/{seed}")
        try:
            yield rng
        finally:
            scheduler._r.setstate(before)


class _SeededSuite:
    """HPKE whose ephemeral keys come from a generator; what it seals, the real suite opens."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._real = sealing._SUITE

    def encrypt(self, plain: bytes, public: X25519PublicKey, *, info: bytes) -> bytes:
        return hpke_seal(plain, public.public_bytes_raw(), info, self._rng.randbytes(32))

    def decrypt(self, sealed: bytes, private: X25519PrivateKey, *, info: bytes) -> Any:
        return self._real.decrypt(sealed, private, info=info)


class _Key:
    """An Ed25519 public key that remembers what it judged."""

    def __init__(self, public_key: bytes) -> None:
        self._judge = lru_cache(maxsize=4096)(partial(_is_signed, Ed25519PublicKey.from_public_bytes(public_key)))

    def verify(self, signature: bytes, message: bytes) -> None:
        if not self._judge(signature, message):
            raise InvalidSignature


def _is_signed(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
