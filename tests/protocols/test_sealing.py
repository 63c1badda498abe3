"""Sealed work opens for one key, one offer, one bid; its length and its errors say nothing of the prompt."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.protocols.codec import Malformed
from meshgen.protocols.offer import MAX_COUNT, MAX_SEALED_BYTES
from meshgen.protocols.order import MAX_PROMPT_BYTES, WorkOrder
from meshgen.protocols.sealing import BUCKET_BYTES, OVERHEAD_BYTES, SealKey, seal, unseal
from tests.conformance.hpke import hpke_seal
from tests.conformance.samples import SAMPLES, SECRET, h
from tests.protocols.strategies import records

KEY = SealKey.from_bytes(bytes(range(32)))
WORK = SAMPLES[WorkOrder]
assert isinstance(WORK, WorkOrder)
BID_ID = h("bid")


@given(records(WorkOrder))
def test_work_survives_the_trip(work: WorkOrder) -> None:
    assert unseal(seal(work, KEY.public, BID_ID), KEY, work.offer_id, BID_ID) == work


def test_it_opens_nowhere_else() -> None:
    sealed = seal(WORK, KEY.public, BID_ID)
    for key, offer_id, bid_id in (
        (SealKey.generate(), WORK.offer_id, BID_ID),
        (KEY, h("another offer"), BID_ID),
        (KEY, WORK.offer_id, h("another bid")),
    ):
        with pytest.raises(Malformed, match="does not open"):
            unseal(sealed, key, offer_id, bid_id)


def test_any_changed_byte_is_refused() -> None:
    sealed = seal(WORK, KEY.public, BID_ID)
    for at in range(len(sealed)):
        with pytest.raises(Malformed):
            unseal(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], KEY, WORK.offer_id, BID_ID)


@given(st.binary(max_size=400))
def test_random_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        unseal(data, KEY, WORK.offer_id, BID_ID)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "key", [b"", bytes(31), bytes(33), bytes(32), bytes([1]) + bytes(31)], ids=["none", "31", "33", "zero", "one"]
)
def test_useless_keys_are_refused(key: bytes) -> None:
    with pytest.raises(Malformed, match="seal_key"):
        seal(WORK, key, BID_ID)


@given(st.integers(0, 3 * BUCKET_BYTES))
def test_only_the_bucket_shows(length: int) -> None:
    sealed = seal(dataclasses.replace(WORK, prompt="x" * length), KEY.public, BID_ID)
    assert (len(sealed) - OVERHEAD_BYTES) % BUCKET_BYTES == 0
    assert SECRET.encode() not in seal(WORK, KEY.public, BID_ID)


def test_the_largest_work_fits_into_an_award() -> None:
    most = dataclasses.replace(
        WORK, prompt="x" * MAX_PROMPT_BYTES, negative_prompt="ü" * (MAX_PROMPT_BYTES // 2), seeds=(2**53 - 1,) * MAX_COUNT
    )
    assert len(seal(most, KEY.public, BID_ID)) <= MAX_SEALED_BYTES


def resealed(plain: bytes) -> bytes:
    return hpke_seal(plain, KEY.public, b"meshgen/work/1\0" + WORK.offer_id + BID_ID)


@pytest.mark.parametrize("padding", [b"", b"\x80", b"\x80" + bytes(600), b"\x81" + bytes(255)])
def test_padding_has_one_form(padding: bytes) -> None:
    with pytest.raises(Malformed, match="padding"):
        unseal(resealed(WORK.encode() + padding), KEY, WORK.offer_id, BID_ID)


def test_the_work_inside_must_be_for_this_offer() -> None:
    other = dataclasses.replace(WORK, offer_id=h("another offer")).encode() + b"\x80"
    with pytest.raises(Malformed, match="another offer"):
        unseal(resealed(other + bytes(-len(other) % BUCKET_BYTES)), KEY, WORK.offer_id, BID_ID)


def test_the_library_speaks_rfc_9180() -> None:
    """Our own few lines of the RFC and the library's agree, so other languages' HPKE will do."""
    plain = WORK.encode() + b"\x80"
    assert unseal(resealed(plain + bytes(-len(plain) % BUCKET_BYTES)), KEY, WORK.offer_id, BID_ID) == WORK
