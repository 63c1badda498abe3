"""Bytes that are nearly a message: a seed with a few changes, made in its msgpack where it has one, or byte by byte."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgpack

MAX_BYTES = 96 * 1024

ODD_VALUES: tuple[Any, ...] = (
    *(0, 1, 2, 127, 128, 255, 256, 2**16, 2**32, 2**40, 2**40 + 1, 2**53 - 1, 2**53, 2**63, 2**64 - 1, -1, -(2**63)),
    *(b"", b"\0", bytes(16), bytes(31), bytes(32), bytes(33), bytes(64), bytes(65), bytes(1025), b"\x01" + bytes(31)),
    *("", "a", "a" * 64, "a" * 257, "\n", "\x7f", "é", "\ud7ff", "\U0010ffff"),
    *(None, True, False, 0.0, float("nan"), {}, {1: 2}, [], [[]], [[[[[1]]]]], [0] * 65, msgpack.ExtType(1, b"x")),
)


def mutate(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """One to three changes; ``others`` lend their parts."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.6:
            data = _change_structure(data, rng)
        elif others and rng.random() < 0.1:
            other = rng.choice(others)
            data = data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]
        else:
            data = _change_bytes(data, rng)
    return data[:MAX_BYTES]


def _change_structure(data: bytes, rng: random.Random) -> bytes:
    try:
        value = msgpack.unpackb(data, strict_map_key=False)
        return bytes(msgpack.packb(_change(value, rng)))
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        return _change_bytes(data, rng)


def _change(value: Any, rng: random.Random) -> Any:
    if isinstance(value, list) and value and rng.random() < 0.9:
        return _change_array(value, rng)
    if isinstance(value, bytes) and value and rng.random() < 0.8:
        return _change_structure(value, rng) if value[0] >= 0x90 else _change_bytes(value, rng)
    if isinstance(value, int) and rng.random() < 0.5:
        return value + rng.choice((-1, 1))
    return rng.choice(ODD_VALUES)


def _change_array(items: list[Any], rng: random.Random) -> list[Any]:
    at = rng.randrange(len(items))
    match rng.randrange(10):
        case 0:
            return items[:at] + items[at + 1 :]
        case 1:
            return [*items[:at], rng.choice(ODD_VALUES), *items[at:]]
        case 2:
            return [*items[:at], items[at], *items[at:]]
        case 3:
            other = rng.randrange(len(items))
            return [items[other] if place == at else item for place, item in enumerate(items)]
    return [*items[:at], _change(items[at], rng), *items[at + 1 :]]


def _change_lines(data: bytes, rng: random.Random) -> bytes:
    """One line left out, said twice, or said elsewhere."""
    lines = data.split(b"\n")
    line = lines[rng.randrange(len(lines))]
    if rng.random() < 0.6:
        lines.remove(line)
    if rng.random() < 0.6:
        lines.insert(rng.randint(0, len(lines)), line)
    return b"\n".join(lines)


def _change_bytes(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    if data.count(b"\n") > 2 and rng.random() < 0.4:
        return _change_lines(data, rng)
    match rng.randrange(5):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + rng.randbytes(rng.randint(1, 4)) + data[at:]
        case 2:
            return data[:at] + data[at + rng.randint(1, 8) :]
        case 3:
            return data[:at] + data[at : at + rng.randint(1, 64)] + data[at:]
    flipped = bytes([data[at] ^ (1 << rng.randrange(8))]) if at < len(data) else b"\xc1"
    return data[:at] + flipped + data[at + 1 :]
