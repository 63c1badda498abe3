"""A worker without torch: alchemy alone, on a machine without a GPU."""

from __future__ import annotations

import os
import platform
from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from contextlib import asynccontextmanager

from meshgen.engine.pool.forms import Alchemist, answer_of
from meshgen.engine.port import AdapterInfo, AnyWork, DeviceInfo, EngineError, EngineEvent, FormWork, ModelInfo, Room


class AlchemyEngine:
    """Implements :class:`meshgen.engine.port.Engine`."""

    def __init__(self, alchemist: Alchemist) -> None:
        self._alchemist = alchemist
        self._busy = 0

    def device(self) -> DeviceInfo:
        return DeviceInfo("cpu", platform.processor() or platform.machine(), 0, 0)

    def models(self) -> list[ModelInfo]:
        return self._alchemist.forms()

    def adapters(self) -> list[AdapterInfo]:
        return self._alchemist.posts()

    def free_slots(self) -> int:
        return max(0, self.room().working - self._busy)

    def room(self) -> Room:
        return Room(max(1, (os.cpu_count() or 1) - 1))

    def company(self, work: AnyWork) -> tuple[Hashable | None, int]:  # noqa: ARG002
        return None, 1

    def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:  # noqa: ARG002
        return self._alchemist.estimate_s(work_model, width * height) * count

    def estimate_error(self) -> float | None:
        return None

    @asynccontextmanager
    async def run(self, work: AnyWork) -> AsyncGenerator[AsyncIterator[EngineEvent]]:
        if not isinstance(work, FormWork):
            raise EngineError("unsupported", "this node does alchemy alone; for pictures and texts it needs torch")
        self._busy += 1
        try:
            yield self._answers(work)
        finally:
            self._busy -= 1

    async def _answers(self, work: FormWork) -> AsyncIterator[EngineEvent]:
        yield await answer_of(self._alchemist, work)
