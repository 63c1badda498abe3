"""How long a job takes: seconds for one step of one megapixel, or for one token, measured for each model, guessed until then."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from meshgen.engine.port import ModelInfo

_GUESSES_S = {"cuda": 0.3, "mps": 2.0, "cpu": 12.0}
"""For Stable Diffusion 1.x, the smallest family that people use."""
_FAMILY = {"sd1": 1.0, "sdxl": 2.0, "sd3": 3.0, "flux": 10.0, "other": 1.0}
_TOKEN_GUESSES_S = {"cuda": 0.02, "mps": 0.05, "cpu": 0.5}
"""For a thousand million parameters."""
_SMALL_SIDE, _SMALL = 256, 0.25
"""What was trained for small pictures is a small network."""
_NEWEST = 0.3
"""Weight of the newest measurement against all before it."""
_LEAST_PIXELS = 64 * 64
"""Below, a step's cost no longer falls with the picture's size."""
_AROUND = 1
"""What comes before and after the steps, reading the prompt and decoding, costs about as much as one of them."""
_REMEMBERED = 200
_PIXELS_WEIGH = 2.0
_TEXT = (0, 1)
"""The shape of what has none."""

Shape = tuple[int, int]
"""Pixels of a picture, pictures of a batch."""


class Speed:
    """Measured and guessed speed on one kind of device."""

    def __init__(self) -> None:
        self._measured: dict[str, dict[Shape, float]] = {}
        self._errors: deque[float] = deque(maxlen=_REMEMBERED)

    def observe(self, model: str, width: int, height: int, steps: int, seconds: float, batch: int = 1) -> None:
        """One picture of the model took so long: its share, if it was drawn in a batch of several."""
        self._note(model, (_pixels(width, height), batch), seconds / _units(width, height, steps))

    def observe_text(self, model: str, tokens: int, seconds: float) -> None:
        self._note(model, _TEXT, seconds / max(tokens, 1))

    def forget(self, model: str) -> None:
        self._measured.pop(model, None)

    def error(self) -> float | None:
        """By how much estimates were off lately, as a share of what it really took: the median. None: nothing measured yet."""
        return median(self._errors) if self._errors else None

    def estimate_s(
        self, model: ModelInfo, device_kind: str, width: int, height: int, steps: int, count: int, batch: int = 1
    ) -> float:
        """``count`` pictures, drawn ``batch`` at a time."""
        unit = self._unit(model.name, (_pixels(width, height), batch)) or self._guess(model, device_kind)
        return unit * _units(width, height, steps) * count

    def estimate_text_s(self, model: ModelInfo, device_kind: str, tokens: int, count: int) -> float:
        guess = _TOKEN_GUESSES_S.get(device_kind, _TOKEN_GUESSES_S["cpu"]) * max(model.millions, 10) / 1000
        return (self._unit(model.name, _TEXT) or guess) * max(tokens, 1) * count

    def measured(self, model: str) -> bool:
        return model in self._measured

    def _note(self, model: str, shape: Shape, unit: float) -> None:
        if expected := self._unit(model, shape):
            self._errors.append(abs(expected - unit) / max(unit, 1e-9))
        shapes = self._measured.setdefault(model, {})
        before = shapes.get(shape, unit)
        shapes[shape] = before + _NEWEST * (unit - before)

    def _unit(self, model: str, shape: Shape) -> float | None:
        """As measured for pictures and batches of this size, or else of the most similar."""
        shapes = self._measured.get(model)
        return shapes[min(shapes, key=lambda other: _distance(shape, other))] if shapes else None

    def _guess(self, model: ModelInfo, device_kind: str) -> float:
        small = _SMALL if model.default_size <= _SMALL_SIDE else 1.0
        return _GUESSES_S.get(device_kind, _GUESSES_S["cpu"]) * _FAMILY.get(model.family, 1.0) * small


def _distance(one: Shape, other: Shape) -> float:
    pixels, batch = (abs(math.log2(max(mine, 1) / max(its, 1))) for mine, its in zip(one, other, strict=True))
    return _PIXELS_WEIGH * pixels + batch


def _pixels(width: int, height: int) -> int:
    return max(width * height, _LEAST_PIXELS)


def _units(width: int, height: int, steps: int) -> float:
    """Megapixels times steps."""
    return _pixels(width, height) / 1e6 * (max(steps, 1) + _AROUND)
