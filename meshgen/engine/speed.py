"""How long a job takes: seconds for one step of one megapixel, measured for each model, guessed until then."""

from __future__ import annotations

from meshgen.engine.port import ModelInfo

_GUESSES_S = {"cuda": 0.3, "mps": 2.0, "cpu": 12.0}
"""For Stable Diffusion 1.x, the smallest family that people use."""
_FAMILY = {"sd1": 1.0, "sdxl": 2.0, "sd3": 3.0, "flux": 10.0, "other": 1.0}
_SMALL_SIDE, _SMALL = 256, 0.25
"""What was trained for small pictures is a small network."""
_NEWEST = 0.3
"""Weight of the newest measurement against all before it."""
_LEAST_PIXELS = 64 * 64
"""Below, a step's cost no longer falls with the picture's size."""


class Speed:
    """Measured and guessed speed on one kind of device."""

    def __init__(self) -> None:
        self._measured: dict[str, float] = {}

    def observe(self, model: str, width: int, height: int, steps: int, seconds: float) -> None:
        """One picture of the model took so long."""
        unit = seconds / _units(width, height, steps)
        before = self._measured.get(model, unit)
        self._measured[model] = before + _NEWEST * (unit - before)

    def forget(self, model: str) -> None:
        self._measured.pop(model, None)

    def estimate_s(self, model: ModelInfo, device_kind: str, width: int, height: int, steps: int, count: int) -> float:
        unit = self._measured.get(model.name) or self._guess(model, device_kind)
        return unit * _units(width, height, steps) * count

    def _guess(self, model: ModelInfo, device_kind: str) -> float:
        small = _SMALL if model.default_size <= _SMALL_SIDE else 1.0
        return _GUESSES_S.get(device_kind, _GUESSES_S["cpu"]) * _FAMILY.get(model.family, 1.0) * small


def _units(width: int, height: int, steps: int) -> float:
    """Megapixels times steps."""
    return max(width * height, _LEAST_PIXELS) / 1e6 * max(steps, 1)
