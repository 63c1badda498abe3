"""The whole scenes of the bundled model's world: no attributes, each drawn with a little freedom."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["SCENES", "draw_scene"]

SCENES = ("sunset", "night", "house", "mountains")

Floats = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

_SIDE = 64


def _grid() -> tuple[Floats, Floats]:
    at = np.arange(_SIDE, dtype=np.float32) + 0.5
    x, y = np.meshgrid(at, at)
    return x, y


def _paint(picture: Floats, distance: Floats, colour: Colour) -> None:
    """Lays a colour wherever the signed distance in pixels is negative, with a soft edge."""
    cover = np.clip(0.5 - distance, 0.0, 1.0)[..., None]
    picture[:] = picture * (1 - cover) + np.array(colour, np.float32) * cover


def _blank(colour: Colour) -> Floats:
    return np.broadcast_to(np.array(colour, np.float32), (_SIDE, _SIDE, 3)).copy()


def _peak(x: Floats, y: Floats, top: tuple[float, float], slope: float) -> Floats:
    away: Floats = (np.abs(x - top[0]) * slope - (y - top[1])) / np.float32(np.hypot(slope, 1.0))
    return away.astype(np.float32)


def _box(x: Floats, y: Floats, corners: tuple[float, float, float, float]) -> Floats:
    left, top, right, bottom = corners
    outside: Floats = np.maximum(np.maximum(left - x, x - right), np.maximum(top - y, y - bottom))
    return outside


def _sunset(rng: np.random.Generator) -> Floats:
    x, y = _grid()
    picture = _blank((255, 140, 0))
    for top, colour in ((0, (142, 50, 180)), (14, (222, 34, 42))):
        _paint(picture, np.maximum(top - y, y - top - 14), colour)
    sun = float(32 + rng.uniform(-7, 7))
    _paint(picture, np.hypot(x - sun, y - 42) - 13, (255, 226, 48))
    _paint(picture, 44 - y, (30, 84, 222))
    return picture


def _night(rng: np.random.Generator) -> Floats:
    x, y = _grid()
    picture = _blank((22, 28, 84))
    for _ in range(7):
        at = rng.uniform((4, 4), (60, 34))
        _paint(picture, np.hypot(x - float(at[0]), y - float(at[1])) - 1.3, (250, 250, 250))
    moon = (float(46 + rng.uniform(-4, 4)), float(16 + rng.uniform(-2, 2)))
    _paint(picture, np.hypot(x - moon[0], y - moon[1]) - 8.5, (255, 240, 180))
    hill = float(20 + rng.uniform(-6, 6))
    _paint(picture, np.hypot(x - hill, y - 104) - 56, (18, 18, 22))
    return picture


def _house(rng: np.random.Generator) -> Floats:
    x, y = _grid()
    picture = _blank((130, 195, 245))
    _paint(picture, 50 - y, (28, 158, 62))
    at = float(32 + rng.uniform(-4, 4))
    _paint(picture, _box(x, y, (at - 15, 29, at + 15, 55)), (255, 226, 148))
    _paint(picture, np.maximum(_peak(x, y, (at, 9), 20 / 19), y - 30), (222, 34, 42))
    _paint(picture, _box(x, y, (at - 4, 40, at + 4, 55)), (122, 72, 30))
    for side in (-9, 9):
        _paint(picture, _box(x, y, (at + side - 3, 34, at + side + 3, 40)), (30, 84, 222))
    return picture


def _mountains(rng: np.random.Generator) -> Floats:
    x, y = _grid()
    picture = _blank((130, 195, 245))
    for middle, top, slope in ((18, 22, 1.25), (44, 12, 1.35)):
        tip = (float(middle + rng.uniform(-3, 3)), float(top + rng.uniform(-2, 2)))
        peak = _peak(x, y, tip, slope)
        _paint(picture, peak, (112, 112, 128))
        _paint(picture, np.maximum(peak, y - tip[1] - 10), (250, 250, 250))
    _paint(picture, 53 - y, (28, 158, 62))
    return picture


_DRAWERS = {"sunset": _sunset, "night": _night, "house": _house, "mountains": _mountains}


def draw_scene(name: str, rng: np.random.Generator) -> Floats:
    """One picture of a scene, (64, 64, 3) in 0..255."""
    return _DRAWERS[name](rng)
