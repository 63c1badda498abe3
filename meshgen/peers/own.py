"""This peer's own engine, and how it serves its owner's requests without the mesh.

It waits in the same queue as others' jobs, and goes before them. Own work needs no offer and moves no credit: nobody owes
himself. It is one more choice beside the bids, so that a request of many pictures is spread over the own device and others'.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from meshgen.engine.port import Engine, EngineEvent, Work
from meshgen.ledger.standing import OWNER
from meshgen.peers.matching import Choice, find_model
from meshgen.peers.queue import Queue
from meshgen.protocols.advert import ModelAdvert


class OwnEngine:
    """The owner's way to the engine. ``models`` are those that this peer serves."""

    def __init__(self, engine: Engine, queue: Queue, models: Callable[[], tuple[ModelAdvert, ...]]) -> None:
        self._engine = engine
        self._queue = queue
        self.models = models

    def choice(self, model: ModelAdvert, width: int, height: int, steps: int, count: int) -> Choice | None:
        """The own device as the allocation sees it; None if it has not these weights, or the picture is too large for them."""
        found = find_model(self.models(), model.name, model.digest)
        if found is None or width * height > found.max_pixels:
            return None
        seconds = self._engine.estimate_s(model.name, width, height, steps, 1)
        return Choice(count, 0, self._queue.wait_ms(OWNER), round(seconds * 1000))

    @asynccontextmanager
    async def draw(self, work: Work) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        """The engine's events, once it is the work's turn. Raises EngineError."""
        count = len(work.seeds)
        seconds = self._engine.estimate_s(work.model, work.width, work.height, work.steps, count)
        with self._queue.accepted(OWNER, count, seconds) as ticket:
            async with self._queue.turn(ticket), self._engine.run(work) as events:
                yield events
