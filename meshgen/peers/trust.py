"""What this requester has seen of each worker: kept, lost, lied. Its own experience alone; nobody's word about others counts."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from meshgen.net.port import PeerId

NEWCOMERS = 16
"""The last workers that were tried for the first time: how they did is what the next one is given credit for."""
FORGIVE_AFTER = 20
"""Parts that known workers kept, until one newcomer is forgotten. Keys cost nothing: while strangers lie in wait, one part in so
many is risked on another of them, and no more."""
MOST = 4096
"""Workers that are remembered; who was least lately dealt with is forgotten first."""


@dataclass(slots=True)
class Experience:
    kept: int = 0  # parts delivered as promised
    lost: int = 0  # parts that died, stalled or failed
    lied: int = 0  # broken promises that no accident explains: bad pictures, wrong bills, two answers to one offer


class Trust:
    """Scores from 0 to 1; an unknown worker starts at 1, so that newcomers get work, or lower when newcomers lately failed."""

    def __init__(self) -> None:
        self._seen: OrderedDict[PeerId, Experience] = OrderedDict()
        self._newcomers: deque[bool] = deque(maxlen=NEWCOMERS)
        self._kept_since = 0

    def of(self, worker: PeerId) -> float:
        seen = self._seen.get(worker)
        if seen is None:
            return (1 + sum(self._newcomers)) / (1 + len(self._newcomers))
        return (seen.kept + 1) / (seen.kept + 1 + seen.lost + 5 * seen.lied)

    def kept(self, worker: PeerId) -> None:
        if self._is_new(worker):
            self._newcomers.append(True)
        else:
            self._kept_since += 1
        if self._kept_since >= FORGIVE_AFTER and self._newcomers:
            self._newcomers.popleft()
            self._kept_since = 0
        self._with(worker).kept += 1

    def lost(self, worker: PeerId) -> None:
        self.silent(worker)
        self._with(worker).lost += 1

    def lied(self, worker: PeerId) -> None:
        self.silent(worker)
        self._with(worker).lied += 1

    def silent(self, worker: PeerId) -> None:
        """It was asked, and did not answer: nothing against it, if it never did, but against believing the next one."""
        if self._is_new(worker):
            self._newcomers.append(False)
            self._kept_since = 0

    def _is_new(self, worker: PeerId) -> bool:
        seen = self._seen.get(worker)
        return seen is None or not seen.kept

    def _with(self, worker: PeerId) -> Experience:
        seen = self._seen.setdefault(worker, Experience())
        self._seen.move_to_end(worker)
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)
        return seen

    def experience(self, worker: PeerId) -> Experience:
        seen = self._seen.get(worker, Experience())
        return Experience(seen.kept, seen.lost, seen.lied)
