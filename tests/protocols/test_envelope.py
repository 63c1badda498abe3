"""Signed messages: any changed byte, another kind, another author is refused; a copycat takes nobody's id."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.identity import Identity
from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.envelope import OVERHEAD_BYTES, sign, unsign
from meshgen.protocols.offer import Award, Bid, Cancel, Offer, Refusal
from meshgen.protocols.record import Record
from tests.conformance.samples import REQUESTER, SAMPLES, WORKER, h
from tests.protocols.strategies import records

KINDS = (Offer, Bid, Refusal, Award, Cancel)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_is_signed_comes_out_whole(kind: type[Record], data: st.DataObject) -> None:
    signed = sign(WORKER, data.draw(records(kind)))
    assert unsign(signed.wire, *KINDS) == signed
    assert signed.peer == WORKER.peer_id
    assert len(signed.wire) <= len(signed.message.encode()) + OVERHEAD_BYTES


def test_any_changed_byte_is_refused() -> None:
    wire = sign(WORKER, SAMPLES[Cancel]).wire
    for at in range(len(wire)):
        for bit in (1, 0x80):
            broken = wire[:at] + bytes([wire[at] ^ bit]) + wire[at + 1 :]
            with pytest.raises(Malformed):
                unsign(broken, Cancel)


@given(st.binary(max_size=400))
def test_random_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        unsign(data, *KINDS)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"",),
        (b"", bytes(32), bytes(64)),
        (b"\x01", bytes(31), bytes(64)),
        (b"\x01", bytes(32), bytes(65)),
        ("", bytes(32), bytes(64)),
        (1, bytes(32), bytes(64)),
        ((1,), bytes(32), bytes(64)),
        (bytes(10_000), bytes(32), bytes(64)),
    ],
)
def test_what_is_no_envelope_is_malformed(parts: tuple[object, ...]) -> None:
    with pytest.raises(Malformed):
        unsign(encode(parts), Cancel)  # type: ignore[arg-type]


def test_only_the_kinds_asked_for_are_taken() -> None:
    wire = sign(WORKER, SAMPLES[Cancel]).wire
    with pytest.raises(Malformed, match="none of offer/1, bid/1"):
        unsign(wire, Offer, Bid)  # type: ignore[misc]


def test_a_signature_serves_one_kind_only() -> None:
    """Two kinds with the same fields: the tag in the signed bytes keeps them apart even if a body were the same."""

    @dataclasses.dataclass(frozen=True, slots=True)
    class Other(Cancel):
        TAG = "other/1"

    cancel = sign(WORKER, SAMPLES[Cancel])
    body = encode(("other/1", *cancel.message.to_value()[1:]))
    signature = cancel.wire[-64:]
    with pytest.raises(Malformed, match="signature"):
        unsign(encode((body, WORKER.public_key, signature)), Other)


def test_another_author_cannot_take_over_a_message() -> None:
    signed = sign(WORKER, SAMPLES[Cancel])
    stolen = encode((signed.message.encode(), REQUESTER.public_key, signed.wire[-64:]))
    with pytest.raises(Malformed, match="signature"):
        unsign(stolen, Cancel)


def test_a_copycat_gets_another_id() -> None:
    """Ids tell messages apart; whoever signs somebody else's offer again must not be able to silence the first."""
    offer = SAMPLES[Offer]
    assert sign(WORKER, offer).id != sign(REQUESTER, offer).id


def test_two_answers_of_one_worker_are_two_messages() -> None:
    """An equivocating worker: both bids verify, both name it as author, and their ids differ, so both can be shown."""
    one = sign(WORKER, SAMPLES[Bid])
    two = sign(WORKER, dataclasses.replace(SAMPLES[Bid], mkudos=1))
    assert unsign(one.wire, Bid).author == unsign(two.wire, Bid).author == WORKER.public_key
    assert one.id != two.id
    assert unsign(one.wire, Bid).message.offer_id == unsign(two.wire, Bid).message.offer_id


def test_a_small_order_author_is_refused() -> None:
    """Rule R1: under the key of order 4, one signature would fit every message."""
    key, signature = bytes(32), bytes([1]) + bytes(63)
    wire = encode((SAMPLES[Cancel].encode(), key, signature))
    with pytest.raises(Malformed, match="signature"):
        unsign(wire, Cancel)


def test_ids_are_known() -> None:
    """Held by the vectors too; here the rule is spelled out."""
    from hashlib import sha256

    cancel = Cancel(bytes(16), h("offer"))
    assert (
        sign(Identity.from_seed(bytes(32)), cancel).id
        == sha256(Identity.from_seed(bytes(32)).public_key + cancel.encode()).digest()
    )
