"""Who does which results of a job. What a late worker has not brought is done by another, too; who brings it first is paid."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import trio

from meshgen.peers.job import Part

LATE_FACTOR, LATE_S = 2.0, 10.0
"""A part is late after so many times what its bid promised, and so much more: what a silent worker is given, too. One that
gives signs of life and nothing else would cost a job all of its part's limit, a minute or more."""


@dataclass(eq=False, slots=True)
class Share:
    """What one worker is doing. Its ``scope`` is cancelled when others have brought all of it."""

    part: Part
    late_s: float
    """When, by trio's clock."""
    is_late: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Shares:
    def __init__(self, count: int) -> None:
        self.missing = deque(range(count))
        """What is to be offered."""
        self._running: list[Share] = []
        self._brought: dict[int, Share] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    def give(self, count: int) -> tuple[int, ...]:
        return tuple(self.missing.popleft() for _ in range(count))

    def begin(self, part: Part, now_s: float, promised_s: float = math.inf) -> Share:
        """``now_s`` by trio's clock. Without a promise it is never late."""
        share = Share(part, now_s + LATE_FACTOR * promised_s + LATE_S)
        self._running.append(share)
        return share

    def bring(self, share: Share, index: int) -> bool:
        """Result ``index`` has come, and is to be paid. False if another has brought it."""
        if index in self._brought:
            return False
        self._brought[index] = share
        if index in self.missing:
            self.missing.remove(index)
        for other in self._running:
            by = [self._brought.get(each) for each in other.part.indices]
            if other is not share and None not in by and any(one is not other for one in by):
                other.scope.cancel()  # who brought all of its own is settling it, and needs no hurry
        return True

    def brought_by(self, index: int) -> Share | None:
        return self._brought.get(index)

    def end(self, share: Share, there: Container[int]) -> None:
        """What it did not bring so that it is ``there``, and nobody else does, is missing again."""
        self._running.remove(share)
        for index in share.part.indices:
            if self.brought_by(index) is share and index not in there:
                del self._brought[index]
        self._miss(share.part.indices)

    def next_late_s(self) -> float:
        return min((share.late_s for share in self._running if not share.is_late), default=math.inf)

    def find_late(self, now_s: float) -> list[Share]:
        """Those that became late; what they have not brought is missing."""
        late = [share for share in self._running if not share.is_late and share.late_s <= now_s]
        for share in late:
            share.is_late = True
            self._miss(share.part.indices)
        return late

    def late(self) -> Iterator[Part]:
        return (share.part for share in self._running if share.is_late)

    def doing(self, index: int) -> Share | None:
        """Whose progress with ``index`` is told: of two that do it, the second's."""
        return next((share for share in reversed(self._running) if index in share.part.indices), None)

    def _miss(self, indices: tuple[int, ...]) -> None:
        in_time = {index for share in self._running if not share.is_late for index in share.part.indices}
        self.missing.extend(index for index in indices if index not in {*self.missing, *self._brought, *in_time})
