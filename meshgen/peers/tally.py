"""What a worker and a requester did since they started; for status and metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from meshgen.metrics import Histogram


@dataclass(slots=True)
class Tally:
    bids: int = 0
    refusals: int = 0
    jobs: int = 0
    pictures: int = 0
    failed: int = 0
    unpaid: int = 0
    engine_s: float = 0.0


@dataclass(slots=True)
class Asked:
    """A requester's. Times in seconds."""

    ended: Counter[str] = field(default_factory=Counter)
    """Jobs, by the state that they ended in."""
    results: int = 0
    offers: int = 0
    unanswered: int = 0
    """Offers on which nobody bid."""
    first_bid: Histogram = field(default_factory=Histogram)
    """From an offer to the first bid on it."""
    dispatch: Histogram = field(default_factory=Histogram)
    """From an award to the worker's first word."""
    generation: dict[str, Histogram] = field(default_factory=lambda: {"mesh": Histogram(), "own": Histogram()})
    """Compute of a result, as its worker says: others' and the own device's."""
    job: Histogram = field(default_factory=Histogram)
    """From the request to its end."""
