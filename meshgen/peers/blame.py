"""What a job holds against its workers: whom it does not ask again, and what of that lasts beyond it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from meshgen.net.port import PeerId
from meshgen.peers.matching import No
from meshgen.peers.purchase import Lost
from meshgen.peers.trust import Trust

MAX_LOSSES = 3
"""A job gives up on a worker that lost so many of its parts; on one that stalled or lied, at once."""
STALLED = frozenset(("silent", "slow", "late"))
HARMLESS = frozenset(("full", "expired", "not_mine"))
"""Losses that say nothing against the worker: it was asked at the wrong time."""
BLAMELESS = {"policy": "policy", "paused": "paused", "withdrawn": "paused", "bad_input": "bad_input"}
"""Nor do these, and what they are called in a refusal: its owner does not want this job, or none now, or it can't use a picture
that was sent. It is not asked again."""
UNNEEDED = "unneeded"
"""Another has brought what it was doing: it did nothing wrong."""


class Blame:
    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._losses: Counter[PeerId] = Counter()
        self._unwanted: dict[PeerId, No] = {}  # whose owner said no, and why
        self._declined: Counter[PeerId] = Counter()  # awards that were taken back, each with a HOLD in the log

    def is_out(self, worker: PeerId) -> bool:
        return self._losses[worker] >= MAX_LOSSES

    def avoided(self) -> Iterator[tuple[PeerId, No]]:
        return ((worker, self._unwanted.get(worker, No("failed"))) for worker in self._losses if self.is_out(worker))

    def failed(self, worker: PeerId, for_good: bool) -> None:
        self._losses[worker] += MAX_LOSSES if for_good else 1

    def lost(self, worker: PeerId, lost: Lost) -> None:
        """A part of it; what it says of the worker."""
        reason = lost.reason
        if reason == UNNEEDED:
            return
        if lost.lied:
            self._trust.lied(worker)
        elif reason not in HARMLESS and reason not in BLAMELESS:
            self._trust.lost(worker)
        if reason in BLAMELESS:
            self._unwanted[worker] = No(BLAMELESS[reason])
        if reason not in HARMLESS:
            self.failed(worker, for_good=lost.lied or reason in STALLED or reason in BLAMELESS)
            return
        self._declined[worker] += 1
        if self._declined[worker] >= MAX_LOSSES:  # a bid that never holds is none
            self.failed(worker, for_good=True)
            self._trust.lost(worker)
