"""Several engines as one: each does the jobs for its own models.

Where two know a model of the same name, the first one has it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from meshgen.engine.port import (
    AdapterInfo,
    AnyWork,
    DeviceInfo,
    Engine,
    EngineEvent,
    FormWork,
    ModelInfo,
    Room,
)

NO_PICTURES = ("text", "alchemy")
"""Families that draw nothing."""


class Several:
    """Implements :class:`meshgen.engine.port.Engine`. The first is this machine's own; what it says of its device goes out.

    Each has a lane of its own in the queue: the first ``""``, the others numbers.
    """

    def __init__(self, first: Engine, *others: Engine) -> None:
        self.engines: dict[str, Engine] = {"": first} | {str(number): engine for number, engine in enumerate(others, 1)}

    def device(self) -> DeviceInfo:
        return self._first.device()

    def models(self) -> list[ModelInfo]:
        """A request can't mix what two engines have: where the first has ControlNets, the others' models go without."""
        own = self._first.models()
        controls = any(adapter.kind == "controlnet" for adapter in self._first.adapters())
        found = {model.name: model for model in own}
        for engine in self._others:
            for model in engine.models():
                features = tuple(word for word in model.features if word != "controlnet" or not controls)
                found.setdefault(model.name, replace(model, features=features))
        return list(found.values())

    def adapters(self) -> list[AdapterInfo]:
        """Where the first draws itself, others' are for their forms of alchemy alone: an upscaler is told of in both lists."""
        draws = any(model.family not in NO_PICTURES for model in self._first.models())
        found = {(adapter.kind, adapter.name): adapter for adapter in self._first.adapters()}
        for engine in self._others:
            forms = {model.name for model in engine.models() if model.family == "alchemy"}
            for adapter in engine.adapters():
                if not draws or adapter.name in forms:
                    found.setdefault((adapter.kind, adapter.name), adapter)
        return list(found.values())

    def free_slots(self) -> int:
        return sum(engine.free_slots() for engine in self.engines.values())

    def room(self) -> Room:
        """Of all together; a queue asks each lane for its own."""
        rooms = [engine.room() for engine in self.engines.values()]
        return Room(sum(room.working for room in rooms), sum(room.preparing for room in rooms))

    def company(self, work: AnyWork) -> tuple[Hashable | None, int]:
        return self._engine(_model_of(work)).company(work)

    def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:
        return self._engine(work_model).estimate_s(work_model, width, height, steps, count)

    def estimate_error(self) -> float | None:
        errors = [error for engine in self.engines.values() if (error := engine.estimate_error()) is not None]
        return errors[0] if errors else None

    def run(self, work: AnyWork) -> AbstractAsyncContextManager[AsyncIterator[EngineEvent]]:
        return self._engine(_model_of(work)).run(work)

    def troubles(self) -> list[str]:
        return [str(trouble) for engine in self.engines.values() for trouble in getattr(engine, "troubles", list)()]

    def lane(self, model: str) -> str:
        """Where its jobs wait; "" also for what nobody knows."""
        lanes = (lane for lane, engine in self.engines.items() if any(known.name == model for known in engine.models()))
        return next(lanes, "")

    @property
    def _first(self) -> Engine:
        return self.engines[""]

    @property
    def _others(self) -> list[Engine]:
        return [engine for lane, engine in self.engines.items() if lane]

    def _engine(self, model: str) -> Engine:
        """A post-processor is no model: the first engine is asked about it."""
        return self.engines[self.lane(model)]


def lane_of(engine: Engine, model: str) -> str:
    """The lane of a peer's queue where jobs for that model wait."""
    return engine.lane(model) if isinstance(engine, Several) else ""


def most_tokens(engine: Engine, model: str) -> int | None:
    """Of a text by that model, if its engine has a limit of its own."""
    most = getattr(_engine_of(engine, model), "most_tokens", None)
    found = most(model) if callable(most) else None
    return found if isinstance(found, int) else None


def is_declined(engine: Engine, model: str, prompt: str) -> bool:
    """Will nobody who has that model take such a prompt?"""
    declines = getattr(_engine_of(engine, model), "is_declined", None)
    return callable(declines) and bool(declines(model, prompt))


def declines_nsfw(engine: Engine, model: str) -> bool:
    """Will nobody who has that model draw or write what may offend?"""
    declines = getattr(_engine_of(engine, model), "declines_nsfw", None)
    return callable(declines) and bool(declines(model))


def rooms_of(engine: Engine) -> dict[str, Callable[[], Room]]:
    """What each lane's engine takes at once."""
    engines = engine.engines if isinstance(engine, Several) else {"": engine}
    return {lane: one.room for lane, one in engines.items()}


def _engine_of(engine: Engine, model: str) -> Engine:
    return engine.engines[engine.lane(model)] if isinstance(engine, Several) else engine


def _model_of(work: AnyWork) -> str:
    return work.form if isinstance(work, FormWork) else work.model
