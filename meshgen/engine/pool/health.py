"""Which models a worker may still offer, and how large: what failed and how often decides."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

from meshgen.engine.port import EngineError, ModelInfo, TextWork, Work

log = logging.getLogger(__name__)

MAX_FAILURES = 3
"""A model that crashes its child or runs out of memory so many times in a row is no longer offered."""
_LESS = 0.5
"""After running out of memory a model is offered with so much of what was too much."""
_LEAST_PIXELS = 64 * 64


class Health:
    """``faults``: models that are not offered, and why."""

    def __init__(self) -> None:
        self.faults: dict[str, str] = {}
        self._limits: dict[str, int] = {}
        self._failures: Counter[str] = Counter()

    def forget(self) -> None:
        """Somebody may have mended what was wrong."""
        self.faults.clear()
        self._limits.clear()
        self._failures.clear()

    def limited(self, info: ModelInfo) -> ModelInfo:
        """The model as it can be offered here."""
        limit = self._limits.get(info.name)
        return info if limit is None else replace(info, max_pixels=min(limit, info.max_pixels))

    def passed(self, model: str) -> None:
        self._failures.pop(model, None)

    def failed(self, work: Work | TextWork, error: EngineError) -> None:
        model = work.model
        log.warning("engine: a job of model %s failed: %s", model, error)
        if error.reason == "bad_model":
            self.faults[model] = str(error)
        if error.reason == "out_of_memory" and isinstance(work, Work):
            pixels = int(work.width * work.height * _LESS)
            self._limits[model] = max(_LEAST_PIXELS, min(pixels, self._limits.get(model, pixels)))
            log.warning("engine: model %s is offered with at most %d pixels from now on", model, self._limits[model])
        if error.reason in ("crashed", "out_of_memory"):
            self._count(model, error)

    def _count(self, model: str, error: EngineError) -> None:
        self._failures[model] += 1
        if self._failures[model] >= MAX_FAILURES:
            what = "crashed the engine" if error.reason == "crashed" else "ran out of memory"
            self.faults[model] = f"it {what} {MAX_FAILURES} times in a row; the last time: {error}"
            log.error("engine: model %s is no longer offered: %s", model, self.faults[model])
