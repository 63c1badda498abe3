"""The one encoding of everything that is signed or hashed: a strict subset of msgpack with exactly one form per value.

Two peers must agree on every byte, or signatures and ids split the mesh. msgpack libraries accept non-minimal integers, duplicate
map keys, NaN and trailing bytes; so decoding here re-encodes and compares. Allowed: unsigned int up to 2**53 - 1 (what JavaScript
holds exactly), bytes, text, array. Never map, float, bool, nil, ext, negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgpack  # type: ignore[import-untyped]

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


_ANYTHING = Limits(max_bytes=MAX_UINT, max_items=MAX_UINT, max_depth=16, max_text=MAX_UINT, ascii_only=False)
"""What can be encoded at all; each message's own limits are narrower."""

_pack: Callable[[object], bytes] = msgpack.Packer(use_bin_type=True).pack
"""One for all: it runs no Python of ours, so no other thread can come in between."""


def encode(value: Value) -> bytes:
    """The canonical bytes of a value. Raises Malformed for what the subset does not hold."""
    _check(value, _ANYTHING, _ANYTHING.max_depth)
    return encode_trusted(value)


def encode_trusted(value: Value) -> bytes:
    """Like :func:`encode`, for a value whose every part has been checked already."""
    return _pack(value)


def decode(data: bytes, limits: Limits) -> Value:
    """The value of canonical bytes. Raises Malformed, and nothing else, for every other input."""
    value = decode_canonical(data, limits)
    _check(value, limits, limits.max_depth)
    return value  # type: ignore[return-value]


def decode_canonical(data: bytes, limits: Limits) -> object:
    """What canonical msgpack holds, its types and texts not judged yet: for :class:`Record`, whose fields judge theirs.

    Raises Malformed, and nothing else.
    """
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
        canonical = _pack(value) == data
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise Malformed(f"not msgpack of the allowed subset ({type(error).__name__})") from None
    if not canonical:
        raise Malformed("not in canonical form")
    return value


def text_fault(text: str, low: int, high: int, ascii_only: bool) -> str:
    """What is wrong with a text of ``low`` to ``high`` UTF-8 bytes, "" if nothing."""
    if text.isascii():
        size, clean = len(text), text.isprintable() or (not ascii_only and _is_clean(text))
    elif ascii_only:
        return "a text is not printable ASCII"
    else:
        try:
            size, clean = len(text.encode()), _is_clean(text)
        except UnicodeEncodeError:
            return "a text holds half a surrogate pair"
    if not low <= size <= high:
        return f"a text of {size} bytes where {low} to {high} belong"
    if not clean:
        return "a text is not printable ASCII" if ascii_only else "a text holds control characters"
    return ""


def _is_clean(text: str) -> bool:
    return not any((char < " " and char not in "\n\t") or char == "\x7f" for char in text)


def _check(value: object, limits: Limits, depth: int) -> None:
    if type(value) is int:
        if not 0 <= value <= MAX_UINT:
            raise Malformed("an integer is outside 0..2^53-1")
    elif type(value) is tuple:
        if depth == 0:
            raise Malformed(f"arrays nest deeper than {limits.max_depth}")
        for item in value:
            kind = type(item)
            if kind is not bytes and (kind is not int or not 0 <= item <= MAX_UINT):  # most items, without a call
                _check(item, limits, depth - 1)
    elif type(value) is str:
        if fault := text_fault(value, 0, limits.max_text, limits.ascii_only):
            raise Malformed(fault)
    elif type(value) is not bytes:
        raise Malformed(f"{type(value).__name__} has no place in a message")


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {
    "ascii": lambda data: decode(data, Limits(max_bytes=4096)),
    "unicode": lambda data: decode(data, Limits(max_bytes=4096, ascii_only=False)),
}
"""What the vectors in ``protocols/codec/vectors`` call each decoder; each protocol's module has such a table."""
