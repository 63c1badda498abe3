"""Messages as frozen dataclasses: each field says its wire type and its limit once; encoding, decoding and checking follow.

On the wire a record is the array ``[TAG, field, field, ...]`` in the order of the class. Fields that a later version added may be
``ADDED``: they are left out while all of them are as by default, so that what was signed before keeps its bytes.

A field is annotated with one of the types below, e.g. ``steps: Annotated[int, UInt(1, 500)]``. Making a record with a bad value
raises :class:`Malformed`, which names the field, so no role can send what every other role would refuse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from meshgen.protocols.codec import MAX_UINT, Limits, Malformed, Value, decode_canonical, encode_trusted, text_fault

Fault = Callable[[object], str]
"""What is wrong with a value of a field, "" if nothing. Never holds the value itself: it could be a prompt."""


@dataclass(frozen=True, slots=True)
class UInt:
    low: int = 0
    high: int = MAX_UINT

    def fault(self, value: object) -> str:
        if type(value) is int and self.low <= value <= self.high:
            return ""
        return f": {value if type(value) is int else type(value).__name__} is not an integer from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Bin:
    """Bytes of one exact length, or of ``low`` to ``high``. ``optional`` admits the empty bytes as "none"."""

    low: int
    high: int = 0
    optional: bool = False

    def fault(self, value: object) -> str:
        if type(value) is not bytes:
            return ": not bytes"
        high = self.high or self.low
        if self.low <= len(value) <= high or (self.optional and not value):
            return ""
        return f": {len(value)} bytes where {self.low} to {high} belong"


@dataclass(frozen=True, slots=True)
class Text:
    """Text of at most ``high`` UTF-8 bytes; ``choices`` restricts it to known words."""

    high: int
    low: int = 0
    choices: tuple[str, ...] = ()
    ascii_only: bool = True

    def fault(self, value: object) -> str:
        if type(value) is not str:
            return ": not a text"
        if fault := text_fault(value, self.low, self.high, self.ascii_only):
            return f": {fault}"
        return f": not one of {', '.join(self.choices)}" if self.choices and value not in self.choices else ""


@dataclass(frozen=True, slots=True)
class Array:
    """A tuple of at most ``high`` items, each of one wire type (or one record class)."""

    of: Any
    high: int
    low: int = 0

    def fault(self, value: object) -> str:
        if type(value) is not tuple or not self.low <= len(value) <= self.high:
            return f": an array of {self.low} to {self.high} items belongs here"
        fault = _fault_of(self.of)
        for index, item in enumerate(value):
            if found := fault(item):
                return f"[{index}]{found}"
        return ""


Hash = Annotated[bytes, Bin(32)]
MaybeHash = Annotated[bytes, Bin(32, optional=True)]
NetId = Annotated[bytes, Bin(16)]
Millis = Annotated[int, UInt()]
"""Milliseconds since 1970 (a time) or of a span."""
MAX_MKUDOS = 2**40
MilliKudos = Annotated[int, UInt(0, MAX_MKUDOS)]

R = TypeVar("R", bound="Record")


@dataclass_transform(frozen_default=True)
class Record:
    """A message. Subclasses are frozen dataclasses with ``TAG`` (name/version) and ``LIMITS``."""

    TAG: ClassVar[str]
    LIMITS: ClassVar[Limits] = Limits(max_bytes=4096)
    ADDED: ClassVar[int] = 0
    """So many fields at the end are written all or none: none while each has its default."""

    def __post_init__(self) -> None:
        plan = _plan(type(self))
        for value, (name, fault, _, kind, low, high) in zip(plan.values(self), plan.fields, strict=True):
            if type(value) is kind and low <= (len(value) if kind is bytes else value) <= high:
                continue  # most fields, without a call
            if found := fault(value):
                raise Malformed(f"{self.TAG}.{name}{found}")
        self.check()

    def check(self) -> None:
        """What the fields must hold together; raises Malformed. Subclasses with such a rule override it."""

    def to_value(self) -> tuple[Value, ...]:
        plan = _plan(type(self))
        values = plan.values(self)
        if self.ADDED and values[-self.ADDED :] == plan.added:
            values = values[: -self.ADDED]
        return (self.TAG, *(map(_to_wire, values) if plan.nests else values))

    def encode(self) -> bytes:
        data = encode_trusted(self.to_value())
        if len(data) > self.LIMITS.max_bytes:
            raise Malformed(f"{self.TAG}: {len(data)} bytes, more than the {self.LIMITS.max_bytes} allowed")
        return data

    @classmethod
    def from_value(cls, value: object) -> Self:
        plan = _plan(cls)
        if cls.ADDED and type(value) is tuple and len(value) == len(plan.fields) + 1 - cls.ADDED:
            value = (*value, *plan.added)
        elif cls.ADDED and type(value) is tuple and value[-cls.ADDED :] == plan.added:
            raise Malformed(f"{cls.TAG}: its last {cls.ADDED} fields are as by default, so they have to be left out")
        if type(value) is not tuple or len(value) != len(plan.fields) + 1 or value[0] != cls.TAG:
            raise Malformed(f"not a {cls.TAG} of {len(plan.fields)} fields")
        if not plan.nests:
            return cls(*value[1:])
        return cls(*[step.nested(item) if step.nested else item for step, item in zip(plan.fields, value[1:], strict=True)])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises Malformed, and nothing else, for anything that is not exactly one such record."""
        return cls.from_value(decode_canonical(data, cls.LIMITS))


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


class _Field(NamedTuple):
    name: str
    fault: Fault
    nested: Callable[[object], object] | None
    """Makes records of what stands on the wire, where the field holds records."""
    kind: Any = None
    """A value of this type whose number or length is from ``low`` to ``high`` is good; any other is judged by ``fault``."""
    low: int = 0
    high: int = 0


class _Plan(NamedTuple):
    """What is worked out once of a class."""

    fields: tuple[_Field, ...]
    values: Callable[[object], tuple[Any, ...]]
    """All fields of a record, in order."""
    nests: bool
    """Is there a field that holds records?"""
    added: tuple[Any, ...] = ()
    """The defaults of the fields that may be left out."""


_plans: dict[type, _Plan] = {}


def _plan(cls: type[Record]) -> _Plan:
    plan = _plans.get(cls)
    if plan is None:
        plan = _plans[cls] = _make_plan(cls)
    return plan


def _make_plan(cls: type[Record]) -> _Plan:
    fields = tuple(_Field(name, _fault_of(kind), _maker_of(kind), *_range_of(kind)) for name, kind in field_kinds(cls))
    added = tuple(field.default for field in dataclasses.fields(cls)[len(fields) - cls.ADDED :])  # type: ignore[arg-type]
    return _Plan(fields, _values_of([step.name for step in fields]), any(step.nested for step in fields), added)


def _values_of(names: list[str]) -> Callable[[object], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda record: tuple([getattr(record, name) for name in names])  # attrgetter makes no tuple of one


def _range_of(kind: Any) -> tuple[Any, int, int]:
    if isinstance(kind, UInt):
        return int, kind.low, kind.high
    if isinstance(kind, Bin):
        return bytes, kind.low, kind.high or kind.low
    return None, 0, 0


def field_kinds(cls: Any) -> list[tuple[str, Any]]:
    """The fields of a record class in wire order, each with its wire type: UInt, Bin, Text, Array or another record class."""
    hints = get_type_hints(cls, include_extras=True)
    return [(field.name, _wire_type(hints[field.name])) for field in dataclasses.fields(cls)]


def _wire_type(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        return get_args(hint)[-1]
    if _is_record(hint):
        return hint
    raise TypeError(f"{hint} has no wire type: annotate it with UInt, Bin, Text or Array")


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _fault_of(kind: Any) -> Fault:
    if _is_record(kind):
        return lambda value: "" if type(value) is kind else f": not a {kind.__name__}"
    return kind.fault  # type: ignore[no-any-return]


def _maker_of(kind: Any) -> Callable[[object], object] | None:
    if _is_record(kind):
        return kind.from_value  # type: ignore[no-any-return]
    if isinstance(kind, Array) and _is_record(kind.of):
        make = kind.of.from_value
        return lambda value: tuple([make(item) for item in value]) if type(value) is tuple else value
    return None


def _to_wire(value: Any) -> Value:
    if isinstance(value, Record):
        return value.to_value()
    if type(value) is tuple:
        return tuple([_to_wire(item) for item in value])
    return value  # type: ignore[no-any-return]
