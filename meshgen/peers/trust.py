"""What this requester has seen of each worker: kept, lost, lied. Its own experience alone; nobody's word about others counts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from meshgen.net.port import PeerId


@dataclass(slots=True)
class Experience:
    kept: int = 0  # parts delivered as promised
    lost: int = 0  # parts that died, stalled or failed
    lied: int = 0  # broken promises that no accident explains: bad pictures, wrong bills, two answers to one offer


class Trust:
    """Scores from 0 to 1; an unknown worker starts at 1, so that newcomers get work."""

    def __init__(self) -> None:
        self._seen: dict[PeerId, Experience] = defaultdict(Experience)

    def of(self, worker: PeerId) -> float:
        seen = self._seen.get(worker)
        if seen is None:
            return 1.0
        return (seen.kept + 1) / (seen.kept + 1 + seen.lost + 5 * seen.lied)

    def kept(self, worker: PeerId) -> None:
        self._seen[worker].kept += 1

    def lost(self, worker: PeerId) -> None:
        self._seen[worker].lost += 1

    def lied(self, worker: PeerId) -> None:
        self._seen[worker].lied += 1

    def experience(self, worker: PeerId) -> Experience:
        seen = self._seen.get(worker, Experience())
        return Experience(seen.kept, seen.lost, seen.lied)
