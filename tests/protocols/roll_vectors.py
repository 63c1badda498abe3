"""What of the roll's vectors its fields alone don't give: pages that contradict themselves, and what pages together come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgpack

from meshgen.identity import Identity
from meshgen.protocols.charter import Charter
from meshgen.protocols.codec import Value, encode
from meshgen.protocols.envelope import Signed, sign
from meshgen.protocols.roll import VECTOR_DECODERS, Page
from tests.conformance.samples import NET, REQUESTER, SAMPLES, WORKER, h
from tests.conformance.vectors import Vector, describe
from tests.protocols.charter_vectors import STRANGER

KINDS_OF_RECORDS = [kind for kind in VECTOR_DECODERS if kind != "roll-counted"]

_CHARTER: Any = SAMPLES[Charter]
LISTED: Charter = replace(_CHARTER, members="listed")
BOTH_MUST = replace(LISTED, roll_threshold=2)
ANN, BEN = sorted((h("ann"), h("ben")))


def page(who: Identity, admitted: tuple[bytes, ...] = (), expelled: tuple[bytes, ...] = (), version: int = 1) -> Signed[Page]:
    return sign(who, Page(NET, version, tuple(sorted(admitted)), tuple(sorted(expelled))))


def roll_vectors() -> Iterator[Vector]:
    good: Any = SAMPLES[Page]
    for name, values, error in _contradictions(good):
        yield Vector("roll", "roll-page", name, msgpack.packb(("roll-page/1", *values)), error=error)
    for name, parts in _counted():
        data = _packed(*parts)
        told = describe(VECTOR_DECODERS["roll-counted"](data))
        yield Vector("roll", "roll-counted", name, data, {key: told[key] for key in ("admitted", "expelled")})
    forged = page(WORKER, (ANN,)).wire[:-1] + b"\0"
    yield Vector("roll", "roll-counted", "roll-counted-forged", _packed(LISTED.encode(), forged), error="signature")
    yield Vector("roll", "roll-counted", "roll-counted-without-charter", _packed(), error="a charter")


def _packed(*parts: Value) -> bytes:
    return encode(parts)


def _contradictions(good: Page) -> Iterator[tuple[str, tuple[Any, ...], str]]:
    yield "roll-page-admitted-descending", (good.net, 1, (BEN, ANN), ()), "admitted"
    yield "roll-page-admitted-twice", (good.net, 1, (ANN, ANN), ()), "admitted"
    yield "roll-page-expelled-descending", (good.net, 1, (), (BEN, ANN)), "expelled"
    yield "roll-page-both-ways", (good.net, 1, (ANN, BEN), (BEN,)), "expelled"


def _counted() -> Iterator[tuple[str, tuple[Value, ...]]]:
    one, two = LISTED.encode(), BOTH_MUST.encode()
    mine, yours = page(WORKER, (ANN,)), page(REQUESTER, (BEN,))
    yield "roll-counted-nobody", (one,)
    yield "roll-counted-either-may", (one, mine.wire, yours.wire)
    yield "roll-counted-in-any-order", (one, yours.wire, mine.wire)
    yield "roll-counted-both-must", (two, page(WORKER, (ANN, BEN)).wire, yours.wire)
    yield "roll-counted-newer-page", (one, page(WORKER, (BEN,), version=2).wire, mine.wire)
    yield "roll-counted-expelled-by-the-other", (one, mine.wire, page(REQUESTER, (), (ANN,)).wire)
    yield "roll-counted-one-of-two-expels", (two, mine.wire, page(REQUESTER, (ANN,)).wire, page(REQUESTER, (), (ANN,), 2).wire)
    yield "roll-counted-by-a-stranger", (one, page(STRANGER, (ANN,)).wire)
    yield "roll-counted-delegates-stay", (one, page(WORKER, (), (REQUESTER.public_key,)).wire)
