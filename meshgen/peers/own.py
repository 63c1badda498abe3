"""This peer's own engine: how busy it is, and how it serves its owner's requests without the mesh.

Own work needs no offer and moves no credit: nobody owes himself. It is one more choice beside the bids, so that a request of many
pictures is spread over the own device and others'.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from meshgen.engine.port import Engine, EngineEvent, Work
from meshgen.peers.matching import Choice, find_model
from meshgen.protocols.advert import ModelAdvert


class Load:
    """What an engine has been given and not yet done, for others and for its owner."""

    def __init__(self, engine: Engine, on_change: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._on_change = on_change
        self.pictures = 0
        self.seconds = 0.0

    @contextmanager
    def busy(self, model: str, width: int, height: int, steps: int, count: int) -> Iterator[None]:
        seconds = self._engine.estimate_s(model, width, height, steps, count)
        self.pictures += count
        self.seconds += seconds
        self._on_change()
        try:
            yield
        finally:
            self.pictures -= count
            self.seconds -= seconds
            self._on_change()


class OwnEngine:
    """The owner's way to the engine. ``models`` are those that this peer serves."""

    def __init__(self, engine: Engine, load: Load, slots: int, models: Callable[[], tuple[ModelAdvert, ...]]) -> None:
        self._engine = engine
        self._load = load
        self._slots = slots
        self.models = models

    def choice(self, model: ModelAdvert, width: int, height: int, steps: int, count: int) -> Choice | None:
        """The own device as the allocation sees it; None if it has not these weights, or the picture is too large for them."""
        found = find_model(self.models(), model.name, model.digest)
        if found is None or width * height > found.max_pixels:
            return None
        seconds = self._engine.estimate_s(model.name, width, height, steps, 1)
        return Choice(count, 0, round(self._load.seconds * 1000 / self._slots), round(seconds * 1000))

    @asynccontextmanager
    async def draw(self, work: Work) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        """The engine's events. Raises EngineError."""
        with self._load.busy(work.model, work.width, work.height, work.steps, len(work.seeds)):
            async with self._engine.run(work) as events:
                yield events
