"""Every kind of record: good ones survive the trip, bad ones are refused by name, and prompts show nowhere."""

from __future__ import annotations

import dataclasses
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.job import Chunk
from meshgen.protocols.order import MAX_PROMPT_BYTES, WorkOrder
from meshgen.protocols.record import Array, Bin, Record, Text, UInt, decode_any, field_kinds, peek_tag
from tests.conformance.samples import SAMPLES, SECRET
from tests.protocols.strategies import record_kinds, records

KINDS = record_kinds()
BY_NAME = {kind.__name__: kind for kind in KINDS}
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@each_kind
@given(data=st.data())
def test_a_record_survives_the_trip(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(records(kind))
    assert kind.decode(record.encode()) == record
    assert decode_any(record.encode(), tuple(KINDS)) == record


@each_kind
@given(data=st.data())
def test_mutated_bytes_are_malformed_or_another_record(kind: type[Record], data: st.DataObject) -> None:
    wire = bytearray(data.draw(records(kind)).encode())
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] = data.draw(st.integers(0, 255))
    mutated = bytes(wire) + data.draw(st.binary(max_size=2))
    try:
        record = kind.decode(mutated)
    except Malformed:
        return
    assert record.encode() == mutated


@given(data=st.binary(max_size=300))
def test_random_bytes_are_malformed(data: bytes) -> None:
    for kind in KINDS:
        with pytest.raises(Malformed):
            kind.decode(data)
    peek_tag(data)


@each_kind
def test_each_field_refuses_what_is_not_its_type(kind: type[Record]) -> None:
    sample = SAMPLES[kind]
    for name, _ in field_kinds(kind):
        for wrong in (None, True, -1, 1.5, [], {}, object(), (None,), "\x00", "\ud800", 2**60):
            with pytest.raises(Malformed, match=name):
                dataclasses.replace(sample, **{name: wrong})


@each_kind
def test_each_field_holds_its_limits(kind: type[Record]) -> None:
    for name, wire_type in field_kinds(kind):
        for wrong in _beyond(wire_type):
            with pytest.raises(Malformed, match=name):
                dataclasses.replace(SAMPLES[kind], **{name: wrong})


def _beyond(wire_type: Any) -> list[object]:
    match wire_type:
        case UInt(low, high):
            return [low - 1, high + 1]
        case Bin(low, high):
            return [bytes((high or low) + 1), *([bytes(low - 1)] if low > 1 else [])]
        case Text(_, _, choices) if choices:
            return ["no such word"[: wire_type.high], ""]
        case Text(high, low):
            return ["a" * (high + 1), *(["a" * (low - 1)] if low else [])]
        case Array(of, high, low):
            return [(_any(of),) * (high + 1), *([()] if low else [])]
    return []


def _any(wire_type: Any) -> object:
    match wire_type:
        case UInt(low):
            return low
        case Bin(low):
            return bytes(low)
        case Text(_, low, choices):
            return choices[0] if choices else "a" * low
    return SAMPLES[wire_type]


@each_kind
def test_every_limit_of_a_field_fits_into_the_message(kind: type[Record]) -> None:
    """A record that can be made but that nobody can decode would be a trap."""
    for name, wire_type in field_kinds(kind):
        if isinstance(wire_type, Text):
            assert wire_type.high <= kind.LIMITS.max_text, name
        if isinstance(wire_type, Array):
            assert wire_type.high <= kind.LIMITS.max_items, name
            if isinstance(wire_type.of, Text):
                assert wire_type.of.high <= kind.LIMITS.max_text, name


@each_kind
def test_fields_neither_lack_nor_abound(kind: type[Record]) -> None:
    value = SAMPLES[kind].to_value()
    for wrong in (value[:-1], (*value, 1), ("other/1", *value[1:]), (value,), value[0], ()):
        with pytest.raises(Malformed):
            kind.decode(encode(wrong))


def test_what_does_not_fit_is_refused_before_it_is_sent() -> None:
    advert = SAMPLES[BY_NAME["Advert"]]
    model = dataclasses.replace(SAMPLES[BY_NAME["ModelAdvert"]], features=("a" * 24,) * 16)
    with pytest.raises(Malformed, match="more than the"):
        dataclasses.replace(advert, models=(model,) * 64).encode()


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("Offer", {"expires_ms": 1_789_000_000_000}, "expires_ms"),
        ("Offer", {"expires_ms": 1_789_000_000_000 + 600_001}, "expires_ms"),
        ("Offer", {"max_mkudos": 2**40, "count": 2}, "more than one hold"),
        ("Bid", {"mkudos": 2**40, "count": 2}, "more than one hold"),
        ("Progress", {"step": 21}, "21 of 20"),
        ("Advert", {"vram_free_mib": 99_999}, "vram_free_mib"),
        ("Advert", {"head_seq": 0}, "head_id"),
        ("Advert", {"head_id": b""}, "head_id"),
        ("Advert", {"alias": "Jürgen"}, "printable ASCII"),
        ("Refusal", {"reason": "tired"}, "not one of"),
    ],
)
def test_fields_hold_together(kind: str, changes: dict[str, object], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        dataclasses.replace(SAMPLES[BY_NAME[kind]], **changes)


@pytest.mark.parametrize("text", [SECRET, SECRET + "\x00", SECRET + "\ud800", SECRET * MAX_PROMPT_BYTES, SECRET.encode()])
@pytest.mark.parametrize("name", [name for name, _ in field_kinds(WorkOrder)])
def test_prompts_show_nowhere(name: str, text: object) -> None:
    """Whatever field a prompt strays into: no error, no repr and no traceback's last lines repeat it."""
    try:
        order = dataclasses.replace(SAMPLES[WorkOrder], **{name: text})
    except Malformed as error:
        shown = str(error) + repr(error) + "".join(traceback.format_exception_only(error))
    else:
        shown = repr(order) + str(order) if name not in ("model", "scheduler") else ""
    assert SECRET not in shown


def test_bytes_of_pictures_stay_out_of_reprs() -> None:
    assert repr(Chunk(b"picture")) == "Chunk()"
