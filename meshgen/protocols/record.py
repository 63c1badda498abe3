"""Messages as frozen dataclasses: each field says its wire type and its limit once, and encoding, decoding and checking follow.

On the wire a record is the array ``[TAG, field, field, ...]`` in the order of the class. A field is annotated with one of the
types below, e.g. ``steps: Annotated[int, UInt(1, 500)]``. Making a record with a bad value raises :class:`Malformed` that names the
field, so no role can send what every other role would refuse.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from meshgen.protocols.codec import MAX_UINT, Limits, Malformed, Value, decode, encode


@dataclass(frozen=True, slots=True)
class UInt:
    low: int = 0
    high: int = MAX_UINT

    def check(self, value: object, where: str) -> None:
        if type(value) is not int or not self.low <= value <= self.high:
            raise Malformed(f"{where}: {_brief(value)} is not an integer from {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Bin:
    """Bytes of one exact length, or of ``low`` to ``high``. ``optional`` admits the empty bytes as "none"."""

    low: int
    high: int = 0
    optional: bool = False

    def check(self, value: object, where: str) -> None:
        high = self.high or self.low
        if type(value) is not bytes:
            raise Malformed(f"{where}: not bytes")
        if not (self.low <= len(value) <= high or (self.optional and not value)):
            raise Malformed(f"{where}: {len(value)} bytes where {self.low} to {high} belong")


@dataclass(frozen=True, slots=True)
class Text:
    """Text of at most ``high`` UTF-8 bytes; ``choices`` restricts it to known words."""

    high: int
    low: int = 0
    choices: tuple[str, ...] = ()

    def check(self, value: object, where: str) -> None:
        if type(value) is not str:
            raise Malformed(f"{where}: not a text")
        if not self.low <= len(value.encode("utf-8", "surrogatepass")) <= self.high:
            raise Malformed(f"{where}: a text of {self.low} to {self.high} bytes belongs here")
        if self.choices and value not in self.choices:
            raise Malformed(f"{where}: not one of {', '.join(self.choices)}")


@dataclass(frozen=True, slots=True)
class Array:
    """A tuple of at most ``high`` items, each of one wire type (or one record class)."""

    of: Any
    high: int
    low: int = 0

    def check(self, value: object, where: str) -> None:
        if type(value) is not tuple or not self.low <= len(value) <= self.high:
            raise Malformed(f"{where}: an array of {self.low} to {self.high} items belongs here")
        for index, item in enumerate(value):
            _check_one(self.of, item, f"{where}[{index}]")


Hash = Annotated[bytes, Bin(32)]
MaybeHash = Annotated[bytes, Bin(32, optional=True)]
NetId = Annotated[bytes, Bin(16)]
Millis = Annotated[int, UInt()]
"""Milliseconds since 1970 (a time) or of a span."""
MilliKudos = Annotated[int, UInt(0, 2**40)]

R = TypeVar("R", bound="Record")


@dataclass_transform(frozen_default=True)
class Record:
    """A message. Subclasses are frozen dataclasses with ``TAG`` (name/version) and ``LIMITS``."""

    TAG: ClassVar[str]
    LIMITS: ClassVar[Limits] = Limits(max_bytes=4096)

    def __post_init__(self) -> None:
        for name, kind in _fields(type(self)):
            _check_one(kind, getattr(self, name), f"{type(self).TAG}.{name}")

    def to_value(self) -> tuple[Value, ...]:
        return (self.TAG, *(_to_wire(getattr(self, name)) for name, _ in _fields(type(self))))

    def encode(self) -> bytes:
        data = encode(self.to_value())
        if len(data) > self.LIMITS.max_bytes:
            raise Malformed(f"{self.TAG}: {len(data)} bytes, more than the {self.LIMITS.max_bytes} allowed")
        return data

    @classmethod
    def from_value(cls, value: Value) -> Self:
        fields = _fields(cls)
        if type(value) is not tuple or len(value) != len(fields) + 1 or value[0] != cls.TAG:
            raise Malformed(f"not a {cls.TAG} of {len(fields)} fields")
        return cls(*(_from_wire(kind, item) for (_, kind), item in zip(fields, value[1:], strict=True)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises Malformed, and nothing else, for anything that is not exactly one such record."""
        return cls.from_value(decode(data, cls.LIMITS))


def decode_any(data: bytes, kinds: tuple[type[R], ...]) -> R:
    """The record among ``kinds`` that these bytes are. Raises Malformed."""
    tag = peek_tag(data)
    for kind in kinds:
        if tag == kind.TAG:
            return kind.decode(data)
    raise Malformed(f"none of {', '.join(kind.TAG for kind in kinds)}")


def peek_tag(data: bytes) -> str:
    """The TAG at the front of an encoded record, "" if there is none. Reads at most 40 bytes; decoding judges the rest."""
    start = 3 if data[:1] == b"\xdc" else 1
    if len(data) <= start or not 0xA0 <= data[start] <= 0xBF:
        return ""
    end = start + 1 + (data[start] & 0x1F)
    return data[start + 1 : end].decode("ascii", "replace")


@cache
def _fields(cls: type[Record]) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(cls, include_extras=True)
    return tuple((field.name, _wire_type(hints[field.name])) for field in dataclasses.fields(cls))  # type: ignore[arg-type]


def _wire_type(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        return get_args(hint)[-1]
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint
    raise TypeError(f"{hint} has no wire type: annotate it with UInt, Bin, Text or Array")


def _check_one(kind: Any, value: object, where: str) -> None:
    if isinstance(kind, type):
        if type(value) is not kind:
            raise Malformed(f"{where}: not a {kind.__name__}")
    else:
        kind.check(value, where)


def _to_wire(value: Any) -> Value:
    if isinstance(value, Record):
        return value.to_value()
    if isinstance(value, tuple):
        return tuple(_to_wire(item) for item in value)
    return value  # type: ignore[no-any-return]


def _from_wire(kind: Any, value: Value) -> Any:
    if isinstance(kind, type):
        return kind.from_value(value)
    if isinstance(kind, Array) and isinstance(kind.of, type) and type(value) is tuple:
        return tuple(kind.of.from_value(item) for item in value)
    return value


def _brief(value: object) -> str:
    """Numbers may be shown; anything else could be a prompt."""
    return str(value) if type(value) is int else type(value).__name__
