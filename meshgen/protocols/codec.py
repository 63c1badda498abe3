"""The one encoding of everything that is signed or hashed: a strict subset of msgpack with exactly one form per value.

Two peers must agree on every byte, or signatures and ids split the mesh. msgpack libraries accept non-minimal integers, duplicate
map keys, NaN and trailing bytes; so decoding here re-encodes and compares. Allowed: unsigned int up to 2**53 - 1 (what JavaScript
holds exactly), bytes, text, array. Never map, float, bool, nil, ext, negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

Value = int | bytes | str | tuple["Value", ...]
"""Arrays are tuples: what was decoded can't be changed behind a signature."""

MAX_UINT = 2**53 - 1


class Malformed(ValueError):
    """Bytes that are no message of this mesh; the text names what was wrong, never what a prompt said."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a decoder accepts. Checked before and while decoding, so that hostile bytes cost little."""

    max_bytes: int
    max_items: int = 64  # of one array
    max_depth: int = 4  # arrays within arrays
    max_text: int = 256  # UTF-8 bytes of one text
    ascii_only: bool = True  # printable ASCII; False admits any Unicode but control characters other than \n and \t


def encode(value: Value) -> bytes:
    """The canonical bytes of a value. Raises Malformed for what the subset does not hold."""
    _refuse_foreign(value, 0)
    return bytes(msgpack.packb(value, use_bin_type=True))


def decode(data: bytes, limits: Limits) -> Value:
    """The value of canonical bytes. Raises Malformed, and nothing else, for every other input."""
    if len(data) > limits.max_bytes:
        raise Malformed(f"{len(data)} bytes, more than the {limits.max_bytes} allowed")
    try:
        value = msgpack.unpackb(
            data,
            use_list=False,
            raw=False,
            strict_map_key=True,
            max_array_len=limits.max_items,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=limits.max_text,
            max_bin_len=limits.max_bytes,
        )
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise Malformed(f"not msgpack of the allowed subset ({type(error).__name__})") from None
    _check(value, limits, limits.max_depth)
    if msgpack.packb(value, use_bin_type=True) != data:
        raise Malformed("not in canonical form")
    return value  # type: ignore[no-any-return]


def _refuse_foreign(value: object, depth: int) -> None:
    if type(value) is int:
        if not 0 <= value <= MAX_UINT:
            raise Malformed(f"the integer {value} is outside 0..2^53-1")
    elif type(value) is tuple:
        if depth > 16:
            raise Malformed("arrays nest deeper than 16")
        for item in value:
            _refuse_foreign(item, depth + 1)
    elif type(value) not in (bytes, str):
        raise Malformed(f"{type(value).__name__} has no place in a message")


def _check(value: object, limits: Limits, depth: int) -> None:
    kind = type(value)
    if kind is int:
        if not 0 <= value <= MAX_UINT:  # type: ignore[operator]
            raise Malformed("an integer is outside 0..2^53-1")
    elif kind is str:
        _check_text(value, limits)  # type: ignore[arg-type]
    elif kind is tuple:
        if depth == 0:
            raise Malformed(f"arrays nest deeper than {limits.max_depth}")
        for item in value:  # type: ignore[attr-defined]
            _check(item, limits, depth - 1)
    elif kind is not bytes:
        raise Malformed(f"{kind.__name__} has no place in a message")


def _check_text(text: str, limits: Limits) -> None:
    if limits.ascii_only:
        if not (text.isascii() and (text.isprintable() or not text)):
            raise Malformed("a text is not printable ASCII")
    elif any(char < " " and char not in "\n\t" for char in text) or "\x7f" in text:
        raise Malformed("a text holds control characters")
