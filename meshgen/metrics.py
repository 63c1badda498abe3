"""Figures for a monitor: what they are called, and how they are kept until somebody asks.

Counting is an addition to a plain number that belongs to whoever counts; putting the numbers together is the reader's work.
Names are without the prefix ``meshgen_``. No label holds a peer id, an alias, an address, a prompt or a stranger's words.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

Labels = tuple[str, ...]
Value = float | Mapping[Any, float] | None
"""One, or some by a label's value, or by the values of several. None: there is nothing to tell, and nothing is told."""
SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(slots=True)
class Histogram:
    """How many values were at most each of ``bounds``, and their sum."""

    bounds: tuple[float, ...] = SECONDS
    sum: float = 0.0
    counts: list[int] = field(init=False)
    """One a bound, and one for what is beyond the last; not added up."""

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def buckets(self) -> Iterator[tuple[str, int]]:
        """(upper bound, values up to it)."""
        yield from zip([*map(str, self.bounds), "+Inf"], accumulate(self.counts), strict=True)


@dataclass(frozen=True, slots=True)
class Metric:
    """``samples``: by the values of ``labels``, in their order."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: Labels
    samples: Mapping[Labels, float | Histogram]


def counter(name: str, about: str, value: Value, *labels: str) -> Metric:
    """What only grows. ``name`` without ``_total``."""
    return Metric(name, "counter", about, labels, _samples(value))


def gauge(name: str, about: str, value: Value, *labels: str) -> Metric:
    """What goes up and down."""
    return Metric(name, "gauge", about, labels, _samples(value))


def histogram(name: str, about: str, value: Histogram | Mapping[str, Histogram], *labels: str) -> Metric:
    found = {"": value} if isinstance(value, Histogram) else value
    return Metric(name, "histogram", about, labels, {(label,) * len(labels): each for label, each in found.items()})


def _samples(value: Value) -> dict[Labels, float | Histogram]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return {(): value}
    return {(label,) if isinstance(label, str) else label: each for label, each in value.items()}
