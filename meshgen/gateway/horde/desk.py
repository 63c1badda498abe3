"""Requests that were taken in, by their ids, until a while after they are over."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import trio

from meshgen.gateway.callers import Caller, Keys
from meshgen.gateway.horde.pictures import Pictures
from meshgen.gateway.horde.webhooks import Webhooks
from meshgen.gateway.hot import Look
from meshgen.gateway.keys import KeyRingError
from meshgen.peers.job import Finished, Job
from meshgen.peers.peer import system_ms

log = logging.getLogger(__name__)

WAIT_S = 20 * 60.0
"""So long a request waits for a worker, as at AI Horde..."""
LIMIT_S = 60 * 60.0
"""...and so long it may take in all."""
KEPT_S = 20 * 60.0
"""Results are kept so long after the last one came..."""
KEPT_BYTES = 256 * 2**20
"""...and those that ended first go before that, if all come to more."""

Kind = Literal["image", "text", "form"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the answers to a request depend on."""

    r2: bool = True
    base: str = ""
    """The URL by which the client reaches this node, for those of pictures."""
    webhook: str = field(default="", repr=False)
    metadata: tuple[dict[str, str], ...] = ()
    """``{type, value, ref}`` for each generation."""
    finish: Callable[[str], str] = field(default=str, repr=False)
    """What is done to a text that came."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One result of a request's. ``id`` is a UUID."""

    id: str
    job: Job
    result: Finished


@dataclass(slots=True)
class Asked:
    """One request. Its jobs tell how it goes."""

    id: str
    caller: Caller
    kind: Kind
    jobs: tuple[Job, ...]
    created_ms: int
    terms: Terms = Terms()
    max_mkudos: int = 0
    """The most that all may cost."""
    cancelled: bool = False
    rated: bool = False

    @property
    def count(self) -> int:
        return sum(job.request.count for job in self.jobs)

    @property
    def final(self) -> bool:
        return all(job.final for job in self.jobs)

    @property
    def mkudos(self) -> int:
        return sum(job.mkudos for job in self.jobs)

    @property
    def size(self) -> int:
        return sum(job.size for job in self.jobs)

    def generation_id(self, place: int, index: int) -> str:
        """Of result ``index`` of the job at ``place``."""
        return str(uuid.uuid5(uuid.UUID(self.id), f"{place}.{index}"))

    def generations(self) -> Iterator[Generation]:
        """Those that are there."""
        for place, job in enumerate(self.jobs):
            for index, result in sorted(job.results.items()):
                yield Generation(self.generation_id(place, index), job, result)

    def cancel(self) -> None:
        """What already came stays, and is paid."""
        self.cancelled = True
        for job in self.jobs:
            if not job.final:
                job.cancel()


View = Callable[[Asked, Generation], Awaitable[dict[str, Any]]]


class Desk:
    """``background`` owns what goes on after an answer: without it nothing is charged, forgotten or told to webhooks."""

    def __init__(
        self,
        keys: Keys,
        background: trio.Nursery | None = None,
        now_ms: Callable[[], int] = system_ms,
        webhooks: Webhooks | None = None,
    ) -> None:
        self._keys = keys
        self._background = background
        self.now_ms = now_ms
        self.pictures = Pictures(now_ms)
        self.paces: dict[str, float] = {}
        """Seconds of compute that a result of each model took lately."""
        self.views: dict[Kind, View] = {}
        """How a result of each kind is shown to clients, set by who serves it: what webhooks are told."""
        self.looks: dict[str, Look] = {}
        """What is polled, by its path without the request's id, set by whoever serves it."""
        self._webhooks = webhooks or Webhooks()
        self._asked: dict[str, Asked] = {}
        self._places: dict[str, tuple[Asked, int, int]] = {}
        self._over: dict[str, Asked] = {}

    def take(self, caller: Caller, kind: Kind, jobs: Sequence[Job], terms: Terms = Terms(), max_mkudos: int = 0) -> Asked:
        asked = Asked(str(uuid.uuid4()), caller, kind, tuple(jobs), self.now_ms(), terms, max_mkudos)
        self._asked[asked.id] = asked
        for place, job in enumerate(asked.jobs):
            for index in range(job.request.count):
                self._places[asked.generation_id(place, index)] = asked, place, index
        if self._background is not None:
            self._background.start_soon(self._attend, asked)
        return asked

    def open(self) -> list[Asked]:
        """Those that are not over."""
        return [asked for asked in self._asked.values() if not asked.final]

    def pending(self, caller: Caller) -> int:
        """What that caller's requests may still cost that are under way, or over and not charged yet. Milli-kudos."""
        uncharged = (asked for asked in self._asked.values() if asked.id not in self._over)
        return sum(asked.max_mkudos for asked in uncharged if asked.caller.key_id == caller.key_id)

    def find(self, kind: Kind, asked_id: str) -> Asked | None:
        asked = self._asked.get(asked_id)
        return asked if asked and asked.kind == kind else None

    def picture(self, generation_id: str) -> bytes | None:
        """A result that is a picture, as it came."""
        asked, place, index = self._places.get(generation_id, (None, 0, 0))
        found = asked.jobs[place].results.get(index) if asked else None
        return found.data if found and found.media == "image/png" else None

    def forget(self, asked: Asked) -> None:
        self._over.pop(asked.id, None)
        if self._asked.pop(asked.id, None):
            for place, job in enumerate(asked.jobs):
                for index in range(job.request.count):
                    self._places.pop(asked.generation_id(place, index), None)

    async def _attend(self, asked: Asked) -> None:
        """From taking to forgetting."""
        async with trio.open_nursery() as nursery:
            if asked.terms.webhook:
                for place in range(len(asked.jobs)):
                    nursery.start_soon(self._tell_results, asked, place)
            for job in asked.jobs:
                await job.wait()
                if job.results:
                    self.paces[job.model] = sum(one.seconds for one in job.results.values()) / len(job.results)
            self._close(asked)
            await trio.sleep(KEPT_S)
        self.forget(asked)

    def _close(self, asked: Asked) -> None:
        try:
            self._keys.charge(asked.caller, asked.mkudos)
        except KeyRingError as error:
            log.error("what a shared key has used could not be written down: %s", error)
        self._over[asked.id] = asked
        while sum(other.size for other in self._over.values()) > KEPT_BYTES and len(self._over) > 1:
            self.forget(next(iter(self._over.values())))

    async def _tell_results(self, asked: Asked, place: int) -> None:
        job = asked.jobs[place]
        async with trio.open_nursery() as calls, job.follow() as events:
            async for event in events:
                if event.kind == "result":
                    index = int(event.data["index"])
                    one = Generation(asked.generation_id(place, index), job, job.results[index])
                    calls.start_soon(self._tell, asked, one)

    async def _tell(self, asked: Asked, one: Generation) -> None:
        shown = await self.views[asked.kind](asked, one)
        told = shown | {"request": asked.id, "id": one.id, "kudos": one.result.mkudos / 1000}
        await self._webhooks.tell(asked.terms.webhook, told)
