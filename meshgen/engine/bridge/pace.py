"""How fast the workers are, as measured between handing out and handing in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

from meshgen.engine.bridge.line import Worker
from meshgen.engine.bridge.popper import Kind
from meshgen.engine.port import AnyWork, TextWork, Work

GUESS = {"image": 1.0, "text": 10.0, "alchemy": 0.25}
"""Units a second of a worker that has not handed in anything yet."""
_WEIGHT = 0.3
"""Of the latest job in a worker's mean."""
_MEGA = 1_000_000


def units(width: int, height: int, steps: int) -> float:
    """Megapixelsteps; where there are no pixels, tokens."""
    return max(width * height / _MEGA, 0.001) * steps if width and height else float(steps)


def units_of(work: AnyWork) -> float:
    """Of one result. A form counts as one megapixel."""
    if isinstance(work, Work):
        return units(work.width, work.height, work.steps)
    return float(work.max_tokens) if isinstance(work, TextWork) else 1.0


class Pace:
    def __init__(self) -> None:
        self._speeds: dict[tuple[Worker, str], float] = {}
        self._errors: deque[float] = deque(maxlen=64)

    def measured(self, worker: Worker, model: str, done: float, seconds: float, estimated_s: float) -> None:
        """``done`` in units."""
        seconds = max(seconds, 0.001)
        speed = done / seconds
        known = self._speeds.get((worker, model), speed)
        self._speeds[worker, model] = known + _WEIGHT * (speed - known)
        self._errors.append(abs(estimated_s - seconds) / seconds)

    def speed(self, worker: Worker, model: str) -> float:
        """Units a second; 0 if it is not known yet."""
        return self._speeds.get((worker, model), 0.0)

    def seconds(self, kind: Kind, workers: Iterable[Worker], model: str, amount: float) -> float:
        """That these workers take for so many units, on average."""
        speeds = [speed for worker in workers if (speed := self.speed(worker, model))]
        return amount / (sum(speeds) / len(speeds) if speeds else GUESS[kind])

    def error(self) -> float | None:
        return median(self._errors) if self._errors else None

    def forget(self, worker: Worker) -> None:
        self._speeds = {key: speed for key, speed in self._speeds.items() if key[0] != worker}
