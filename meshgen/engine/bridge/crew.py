"""The workers that ask for jobs: who is there, what they can do together, and whom to give nothing for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from meshgen.engine.bridge.line import Worker
from meshgen.engine.bridge.popper import Popper
from meshgen.engine.port import AdapterInfo, AnyWork, ModelInfo, Room

LIVE_S = 120.0
"""A worker is there for so long after it last asked for a job."""
MAX_WORKERS = 64
MAX_LOSSES = 3
"""Who lost so many jobs in a row gets none..."""
REST_S = 300.0
"""...for so long."""


@dataclass(slots=True)
class Member:
    popper: Popper
    seen_s: float
    done: int = 0
    mkudos: int = 0
    losses: int = 0  # in a row
    rests_until_s: float = 0.0

    @property
    def worker(self) -> Worker:
        return self.popper.kind, self.popper.name


class Crew:
    """``busy`` tells whether a worker holds a job: who computes need not ask for more."""

    def __init__(self, now_s: Callable[[], float], busy: Callable[[Worker], bool]) -> None:
        self._now_s = now_s
        self._busy = busy
        self._members: dict[Worker, Member] = {}

    def seen(self, popper: Popper) -> Member:
        """It asks for a job, with this to say of itself."""
        worker = popper.kind, popper.name
        member = self._members.pop(worker, None) or Member(popper, 0.0)
        member.popper, member.seen_s = popper, self._now_s()
        self._members[worker] = member  # the last seen is the last
        while len(self._members) > MAX_WORKERS:
            del self._members[next(iter(self._members))]
        return member

    def member(self, worker: Worker | None) -> Member | None:
        return self._members.get(worker) if worker else None

    def lost(self, worker: Worker | None) -> None:
        """It did not bring what it took, or not that."""
        if member := self.member(worker):
            member.losses += 1
            if member.losses >= MAX_LOSSES:
                member.losses, member.rests_until_s = 0, self._now_s() + REST_S

    def brought(self, worker: Worker | None, mkudos: int) -> None:
        if member := self.member(worker):
            member.losses = 0
            member.done += 1
            member.mkudos += mkudos

    def rests(self, member: Member) -> bool:
        return member.rests_until_s > self._now_s()

    def live(self) -> list[Member]:
        return [member for member in self._members.values() if self._is_live(member)]

    def _is_live(self, member: Member) -> bool:
        there = member.seen_s + LIVE_S > self._now_s() or self._busy(member.worker)
        return there and not self.rests(member)

    def able(self, work: AnyWork, holes: bool = False) -> Iterator[Member]:
        """Who is there and can do this."""
        return (member for member in self.live() if not member.popper.skips(work, holes))

    def with_model(self, model: str) -> list[Member]:
        return [member for member in self.live() if model in member.popper.models]

    def models(self) -> list[ModelInfo]:
        """Of one name the one with the most features, and of these the one for the largest pictures."""
        found: dict[str, ModelInfo] = {}
        for model in chain.from_iterable(member.popper.infos() for member in self.live()):
            known = found.get(model.name)
            if known is None or _rank(model) > _rank(known):
                found[model.name] = model
        return list(found.values())

    def adapters(self) -> list[AdapterInfo]:
        found = {(one.kind, one.name): one for one in chain.from_iterable(member.popper.adapters() for member in self.live())}
        return list(found.values())

    def room(self) -> Room:
        """At least one: whoever waits for a worker that went away is told by the engine."""
        live = self.live()
        return Room(max(1, sum(member.popper.threads for member in live)), len(live))


def _rank(model: ModelInfo) -> tuple[int, int, int]:
    return len(model.features), model.max_pixels, model.context
