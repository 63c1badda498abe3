"""The codec: one form per value, and nothing but Malformed for everything else."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshgen.protocols.codec import MAX_UINT, Limits, Malformed, decode, encode
from tests.protocols.strategies import VALUES

WIDE = Limits(max_bytes=4096)
DEEP_LIMITS = Limits(max_bytes=4096, max_depth=16)


@given(VALUES)
def test_what_is_encoded_decodes_to_itself(value: object) -> None:
    assert decode(encode(value), DEEP_LIMITS) == value  # type: ignore[arg-type]


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")  # never used by msgpack
@example(b"\xd6\xff\x00\x00\x00\x00")  # a timestamp
@example(b"\xc7\x00\xff")  # an empty timestamp
@example(b"\x80")
def test_random_bytes_are_malformed_or_canonical(data: bytes) -> None:
    try:
        value = decode(data, WIDE)
    except Malformed:
        return
    assert encode(value) == data


@given(VALUES, st.data())
def test_mutated_bytes_are_malformed_or_canonical(value: object, draw: st.DataObject) -> None:
    data = bytearray(encode(value))  # type: ignore[arg-type]
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(data), DEEP_LIMITS)
    except Malformed:
        return
    assert encode(decoded) == bytes(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not msgpack"),
        (b"\xcc\x05", "canonical"),  # 5 as uint8
        (b"\xcd\x00\x05", "canonical"),
        (b"\xd9\x01a", "canonical"),  # "a" as str8
        (b"\xc5\x00\x01a", "canonical"),  # bin16 for one byte
        (b"\xdc\x00\x01\x05", "canonical"),  # array16 for one item
        (b"\x05\x05", "not msgpack"),  # trailing
        (b"\xff", "outside"),  # -1
        (b"\xd0\x05", "canonical"),  # 5 as int8
        (b"\xcf\x00\x20\x00\x00\x00\x00\x00\x00", "outside"),  # 2^53
        (b"\xc0", "NoneType"),
        (b"\xc2", "bool"),
        (b"\xca\x3f\x80\x00\x00", "canonical"),  # 1.0 as float32
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "float"),  # NaN
        (b"\x80", "dict"),
        (b"\x81\x01\x02", "not msgpack"),
        (b"\xd4\x01\x00", "not msgpack"),  # ext
        (b"\xc7\x00\x05", "ExtType"),  # an empty ext
        (b"\xa1\xff", "not msgpack"),  # no UTF-8
        (b"\xa3\xed\xa0\x80", "not msgpack"),  # half a surrogate pair
        (b"\xa2\xc0\x80", "not msgpack"),  # overlong NUL
        (b"\xa1\x00", "printable"),
        (b"\xa1\x7f", "printable"),
        (b"\xa2\xc3\xa9", "printable"),  # e with an accent
        (b"\xdd\xff\xff\xff\xff", "not msgpack"),  # four thousand million items
        (b"\xc6\xff\xff\xff\xff", "not msgpack"),
        (b"\xdb\xff\xff\xff\xff", "not msgpack"),
        (b"\x91" * 3000 + b"\x00", "not msgpack"),
        (b"\x91" * 600 + b"\x00", "not msgpack|deeper"),
        (b"\x91" * 5 + b"\x00", "deeper than 4"),
        (b"\xdc\x00\x41" + b"\x00" * 65, "not msgpack"),  # 65 items
        (b"\xc4\x10" + bytes(15), "not msgpack"),  # cut short
        (bytes(5000), "more than the 4096"),
    ],
)
def test_each_oddity_is_named(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode(data, WIDE)


@pytest.mark.parametrize(
    "value", [-1, MAX_UINT + 1, 1.0, None, True, {}, [1], "\x00", "\ud800", bytearray(b"a"), (1, (None,)), b"a".decode]
)
def test_what_the_subset_lacks_is_not_encoded(value: object) -> None:
    with pytest.raises(Malformed):
        encode(value)  # type: ignore[arg-type]


def test_arrays_nest_no_deeper_than_sixteen() -> None:
    value: object = 1
    for _ in range(16):
        value = (value,)
    assert encode(value) == b"\x91" * 16 + b"\x01"  # type: ignore[arg-type]
    with pytest.raises(Malformed, match="deeper than 16"):
        encode((value,))  # type: ignore[arg-type]


def test_unicode_is_for_those_who_ask() -> None:
    data = msgpack.packb("grün\n\t")
    assert decode(data, Limits(max_bytes=64, ascii_only=False)) == "grün\n\t"
    with pytest.raises(Malformed, match="printable ASCII"):
        decode(data, WIDE)
    with pytest.raises(Malformed, match="control"):
        decode(msgpack.packb("ü\x1b[31m"), Limits(max_bytes=64, ascii_only=False))


@pytest.mark.parametrize("size", [0, 1, 23, 24, 31, 32, 255, 256])
def test_every_length_has_one_form(size: int) -> None:
    for value in ("a" * size, b"a" * size, (7,) * size):
        limits = Limits(max_bytes=1000, max_items=300)
        assert decode(encode(value), limits) == value  # type: ignore[arg-type]
