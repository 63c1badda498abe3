"""Chance on a lead, and let go again."""

from __future__ import annotations

import os
import secrets

import pytest
import trio

from meshgen.identity import Identity, verify
from meshgen.protocols import sealing
from meshgen.protocols.codec import Malformed
from meshgen.protocols.order import WorkOrder
from meshgen.testing import seeded

WORK = WorkOrder(bytes(32), "a boat", "", "fake", bytes(32), 64, 64, 4, 5000, "", (1,), 0)


def draw() -> tuple[object, ...]:
    return os.urandom(8), secrets.token_hex(4), sealing.SealKey.generate().public, trio._core._run._r.random()


def test_one_seed_one_sequence() -> None:
    drawn = []
    for seed in (1, 1, 2):
        with seeded(seed):
            drawn.append((draw(), draw()))
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][0] != drawn[0][1]


def test_everything_is_restored() -> None:
    before = os.urandom, sealing._SUITE, sealing.SealKey.generate, trio._core._run._r.getstate()
    with pytest.raises(ZeroDivisionError), seeded(1):
        raise ZeroDivisionError
    assert (os.urandom, sealing._SUITE, sealing.SealKey.generate, trio._core._run._r.getstate()) == before


def test_what_is_sealed_on_a_lead_opens_without() -> None:
    key, bid = sealing.SealKey.generate(), bytes(32)
    with seeded(1):
        one = sealing.seal(WORK, key.public, bid)
    with seeded(1):
        assert sealing.seal(WORK, key.public, bid) == one
        with pytest.raises(Malformed):
            sealing.seal(WORK, bytes(32), bid)
    assert sealing.unseal(one, key, WORK.offer_id, bid) == WORK


def test_signatures_are_judged_as_ever() -> None:
    me = Identity.from_seed(bytes(32))
    signature = me.sign(b"yes")
    with seeded(1):
        for _ in range(2):
            assert verify(me.public_key, signature, b"yes")
            assert not verify(me.public_key, signature, b"no")
