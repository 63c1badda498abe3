"""What the mesh asks for: how many requesters a worker heard asking for each model, or each adapter, in the last hours.

Requesters count, not offers: an offer costs nothing, and whoever repeats his own would choose what others' workers serve.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

BUCKET_MS = 15 * 60 * 1000
BUCKETS = 24
"""Six hours."""
MAX_PAIRS = 4096
"""Requesters and things that are told apart within a bucket; what comes beyond them is not counted."""


class Demand:
    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._heard: OrderedDict[int, set[tuple[bytes, str]]] = OrderedDict()  # by bucket

    def heard(self, author: bytes, thing: str) -> None:
        """That peer asked for it; on two ways or twice in a bucket is once."""
        pairs = self._heard.setdefault(self._now_ms() // BUCKET_MS, set())
        if len(pairs) < MAX_PAIRS:
            pairs.add((author, thing))
        self._forget()

    def counts(self) -> Counter[str]:
        """By thing."""
        self._forget()
        return Counter(thing for pairs in self._heard.values() for _, thing in pairs)

    def _forget(self) -> None:
        oldest = self._now_ms() // BUCKET_MS - BUCKETS
        while self._heard and next(iter(self._heard)) <= oldest:
            self._heard.popitem(last=False)
