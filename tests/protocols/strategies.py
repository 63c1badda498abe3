"""Hypothesis strategies for every kind of record, read off the wire types that the records declare."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from meshgen.protocols.codec import Value
from meshgen.protocols.offer import MAX_OFFER_LIFETIME_MS, MAX_SIDE
from meshgen.protocols.record import Array, Bin, Record, Text, UInt, field_kinds

MODULES = ("advert", "offer", "order", "job")
PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
UNICODE = st.characters(exclude_categories=("Cs", "Cc"))
MOST_BYTES = 300
"""Drawn for a field that may hold more; the limits themselves are tried one by one."""

VALUES: st.SearchStrategy[Value] = st.recursive(
    st.integers(0, 2**53 - 1) | st.binary(max_size=40) | st.text(PRINTABLE, max_size=40),
    lambda inner: st.lists(inner, max_size=6).map(tuple),
    max_leaves=12,
)


def record_kinds() -> list[type[Record]]:
    """Every record class of the protocols under test, helpers and other protocols' aside."""
    modules = [importlib.import_module(f"meshgen.protocols.{name}") for name in MODULES]
    return [
        thing
        for module in modules
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Record) and thing.__module__ == module.__name__
    ]


def records(cls: type[Record]) -> st.SearchStrategy[Record]:
    fields = st.fixed_dictionaries({name: _values(kind) for name, kind in field_kinds(cls)})
    return fields.map(lambda drawn: cls(**_mend(cls, drawn)))


def _values(kind: Any) -> st.SearchStrategy[Any]:
    match kind:
        case UInt(low, high):
            return st.integers(low, high)
        case Bin(low, high, optional):
            sized = st.binary(min_size=low, max_size=min(high or low, max(low, MOST_BYTES)))
            return st.just(b"") | sized if optional else sized
        case Text(_, _, choices) if choices:
            return st.sampled_from(choices)
        case Text(high, low, _, ascii_only):
            most = min(high, MOST_BYTES) if ascii_only else min(high, MOST_BYTES) // 4
            return st.text(PRINTABLE if ascii_only else UNICODE, min_size=low, max_size=most)
        case Array(of, high, low):
            return st.lists(_values(of), min_size=low, max_size=min(high, max(low, 4))).map(tuple)
    return records(kind)


def _mend(cls: type[Record], drawn: dict[str, Any]) -> dict[str, Any]:
    """Give drawn fields what they must hold together."""
    mend = _MENDERS.get(cls.__name__)
    return {**drawn, **mend(drawn)} if mend else drawn


def _measures(drawn: dict[str, Any]) -> dict[str, Any]:
    """A size, steps and tokens that go with the family."""
    if drawn["family"] == "text":
        return {"width": 0, "height": 0, "steps": 0, "tokens": max(drawn["tokens"], 1)}
    least = 1 if drawn["family"] == "alchemy" else 8
    steps = 0 if drawn["family"] == "alchemy" else max(drawn["steps"], 1)
    sides = {side: max(drawn[side], least) for side in ("width", "height")}
    enlarge = max(1, min(drawn["enlarge"], MAX_SIDE // max(sides.values())))
    return {**sides, "steps": steps, "enlarge": enlarge, "tokens": 0, "context": 0}


def _inputs(drawn: dict[str, Any]) -> dict[str, Any]:
    """One of a role, no mask without its source, a control with its picture."""
    given = {one.role: one for one in drawn["inputs"]}
    if "source" not in given:
        given.pop("mask", None)
    if not drawn["control"]:
        given.pop("control", None)
    return {"inputs": tuple(given.values()), "control": drawn["control"] if "control" in given else ()}


_MENDERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "Offer": lambda d: {
        **_measures(d),
        "max_mkudos": d["max_mkudos"] // 64,
        "created_ms": d["created_ms"] // 2,
        "expires_ms": d["created_ms"] // 2 + 1 + d["expires_ms"] % MAX_OFFER_LIFETIME_MS,
    },
    "WorkOrder": _inputs,
    "Bid": lambda d: {"mkudos": d["mkudos"] // 64},
    "Progress": lambda d: {"step": d["step"] % (d["steps"] + 1)},
    "Advert": lambda d: {
        "vram_free_mib": min(d["vram_free_mib"], d["vram_total_mib"]),
        "head_seq": max(1, d["head_seq"]) if d["head_id"] else 0,
    },
}
