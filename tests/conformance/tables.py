"""The field tables of the specs, as the code declares them; a test holds the two together."""

from __future__ import annotations

from typing import Any

from meshgen.protocols.record import Array, Bin, Record, Text, UInt, field_kinds


def rows(cls: type[Record]) -> list[tuple[str, str]]:
    """(field, type with limits) in wire order."""
    return [(name, words(kind)) for name, kind in field_kinds(cls)]


def words(kind: Any) -> str:
    match kind:
        case UInt(low, high):
            return f"uint {low}..{number(high)}"
        case Bin(low, high, optional):
            span = f"{low}..{number(high)}" if high else str(low)
            return f"bin {span} or empty" if optional else f"bin {span}"
        case Text(high, low, choices, ascii_only):
            if choices:
                return "text, a known word"
            return f"text {low}..{high}" if ascii_only else f"text {low}..{high}, Unicode"
        case Array(of, high, low):
            return f"array {low}..{high} of {words(of)}"
    return str(kind.TAG)


def number(value: int) -> str:
    """Powers of two from 2^16 on are written as such, so that people see them."""
    for offset, suffix in ((0, ""), (1, "-1")):
        exponent = (value + offset).bit_length() - 1
        if exponent >= 16 and value + offset == 2**exponent:
            return f"2^{exponent}{suffix}"
    return str(value)
