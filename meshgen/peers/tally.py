"""What a worker did since it started; for status and metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    bids: int = 0
    refusals: int = 0
    jobs: int = 0
    pictures: int = 0
    failed: int = 0
    unpaid: int = 0
