"""How many of the workers that hear an offer by gossip are to answer it.

A few bids are as good as thousands, which in a large mesh would cost the requester more than the picture. Nobody knows how many
workers there are beyond those in his directory, so it is learned: from how many answered the last time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Protocol

from meshgen.protocols.offer import MAX_SAMPLE

ENOUGH = 24
"""Answers that are wanted, at least: some are refusals."""
A_PICTURE = 3
"""And so many for each picture, if these are more."""
MAX_MODELS = 256
WIDER = 2
"""An offer that was not covered is followed by one that four times as many answer."""


class Last(Protocol):
    """What came of the last offer for a model, late answers included."""

    @property
    def heard(self) -> int:
        """Workers that answered."""

    @property
    def sample(self) -> int: ...

    @property
    def was_covered(self) -> bool: ...


class Sampling:
    """By model."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, Last] = OrderedDict()

    def choose(self, model: str, count: int, known: int) -> int:
        """The next offer's ``sample``; ``known``: workers in the directory that could do it."""
        enough = max(ENOUGH, A_PICTURE * count)
        last = self._last.get(model)
        if last is None:
            return _halvings(known, enough)
        if not last.was_covered:
            return max(0, last.sample - WIDER)
        return _halvings(last.heard << last.sample, enough)

    def made(self, model: str, last: Last) -> None:
        self._last[model] = last
        self._last.move_to_end(model)
        if len(self._last) > MAX_MODELS:
            self._last.popitem(last=False)


def _halvings(workers: int, enough: int) -> int:
    """Of so many: how often they may be halved with enough left."""
    return min(MAX_SAMPLE, max(0, int(math.log2(workers / enough)))) if workers > enough else 0
