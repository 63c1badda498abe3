"""Draws the bundled model's world: flat shapes on flat backgrounds, and a few scenes.

A `Scene` says what is in a picture; `render` turns a list of scenes into pixels, and a random generator
decides only what the scene leaves open (exact place and size). Numpy alone, whole batches at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from meshgen.engine.bundled.scenes import SCENES, draw_scene

__all__ = [
    "COLOURS",
    "LAYOUTS",
    "PICTURE",
    "SCENES",
    "SHAPES",
    "SINGLES",
    "Scene",
    "Thing",
    "coverage",
    "held_out",
    "random_scene",
    "render",
    "unit_distance",
]

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

PICTURE = 64
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 34, 42),
    "orange": (255, 140, 0),
    "yellow": (255, 226, 48),
    "green": (28, 158, 62),
    "blue": (30, 84, 222),
    "purple": (142, 50, 180),
    "black": (18, 18, 22),
    "white": (250, 250, 250),
}
SINGLES = ("single", "small", "big")
LAYOUTS = (*SINGLES, "vertical", "horizontal", *SCENES)
HELD_OUT_SHARE = 16  # one combination of attributes in so many is never trained on


@dataclass(frozen=True, slots=True)
class Thing:
    """A coloured shape. An empty colour leaves the choice to the drawer."""

    shape: str
    colour: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows: `a` is the only, upper or left thing, `b` the lower or right one."""

    layout: str
    a: Thing | None = None
    b: Thing | None = None
    background: str = ""

    def colours(self) -> list[str]:
        return [thing.colour for thing in (self.a, self.b) if thing is not None]


def held_out(scene: Scene) -> bool:
    """Whether this combination of attributes is kept from training (scenes without things never are)."""
    if scene.a is None:
        return False
    return hashlib.sha256(repr(scene).encode()).digest()[0] % HELD_OUT_SHARE == 0


def random_scene(rng: np.random.Generator, pairs: float = 0.5, scenes: float = 0.06) -> Scene:
    """A scene, held out or not; `pairs` and `scenes` are the shares of two things and of whole scenes."""
    kind = rng.random()
    if kind < scenes:
        return Scene(str(rng.choice(SCENES)))
    names = list(COLOURS)
    background = _background(rng, names)
    others = [name for name in names if name != background]
    a = Thing(str(rng.choice(SHAPES)), str(rng.choice(others)))
    if kind >= scenes + pairs:
        return Scene(str(rng.choice(SINGLES, p=(0.5, 0.25, 0.25))), a, None, background)
    b = Thing(str(rng.choice(SHAPES)), str(rng.choice(others)))
    while b == a:
        b = Thing(str(rng.choice(SHAPES)), str(rng.choice(others)))
    return Scene(str(rng.choice(("vertical", "horizontal"))), a, b, background)


def _background(rng: np.random.Generator, names: list[str]) -> str:
    # White is what a prompt without a background gets, so it is drawn more often.
    return "white" if rng.random() < 0.2 else str(rng.choice(names))


# -- shapes -------------------------------------------------------------------------------------------------

_GRID = 512  # the unit distance tables' side
_REACH = 1.6  # and how far from the centre they reach


def _polygon_distance(points: Floats, corners: Floats) -> Floats:
    """Signed distance (negative inside) of `points` (n, 2) from a closed polygon."""
    nearest = np.full(len(points), np.inf, np.float32)
    inside = np.zeros(len(points), bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        edge, offset = end - start, points - start
        along = np.clip(offset @ edge / float(edge @ edge), 0.0, 1.0)
        gap = offset - along[:, None] * edge
        nearest = np.minimum(nearest, (gap * gap).sum(axis=1))
        crosses = (start[1] > points[:, 1]) != (end[1] > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = start[0] + (points[:, 1] - start[1]) * edge[0] / edge[1]
        inside ^= crosses & (points[:, 0] < at)
    return np.where(inside, -np.sqrt(nearest), np.sqrt(nearest)).astype(np.float32)


def _corners(shape: str) -> Floats:
    """The outline of a shape about the origin; y points down, as in a picture."""
    if shape == "square":
        return np.array([(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)], np.float32)
    if shape == "triangle":
        return np.array([(0.0, -1.05), (1.08, 0.85), (-1.08, 0.85)], np.float32)
    if shape == "cross":
        arm, end = 0.33, 1.0
        quarter = [(arm, -end), (arm, -arm), (end, -arm)]
        turned = [(x, y) for x, y in quarter]
        outline: list[tuple[float, float]] = []
        for _ in range(4):
            outline += turned
            turned = [(-y, x) for x, y in turned]
        return np.array(outline, np.float32)
    if shape == "star":
        turns = np.arange(10) * np.pi / 5
        radius = np.where(np.arange(10) % 2 == 0, 1.18, 0.5)
        return np.stack([radius * np.sin(turns), 0.08 - radius * np.cos(turns)], axis=1).astype(np.float32)
    turns = np.linspace(0.0, 2 * np.pi, 64, endpoint=False)  # a heart
    x = np.sin(turns) ** 3
    y = -(13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)) / 16
    return np.stack([1.06 * x, 1.0 * y - 0.13], axis=1).astype(np.float32)


def _table(shape: str) -> Floats:
    axis = (np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID * 2 * _REACH - _REACH
    x, y = np.meshgrid(axis, axis)
    if shape == "circle":
        return (np.hypot(x, y) - 1.0).astype(np.float32)
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    return _polygon_distance(points, _corners(shape)).reshape(_GRID, _GRID)


_TABLES: list[Floats] = []


def unit_distance() -> Floats:
    """Signed distance tables of all shapes at unit size, made once: (shape, y, x)."""
    if not _TABLES:
        _TABLES.append(np.stack([_table(shape) for shape in SHAPES]))
    return _TABLES[0]


def coverage(shapes: npt.NDArray[np.int64], x: Floats, y: Floats, radius: Floats, side: int = PICTURE) -> Floats:
    """How much of each pixel a shape covers, one shape a picture: (n, side, side) in 0..1."""
    at = np.arange(side, dtype=np.float32) + 0.5
    scale = _GRID / (2 * _REACH)
    column = ((at[None, :] - x[:, None]) / radius[:, None] + _REACH) * scale
    row = ((at[None, :] - y[:, None]) / radius[:, None] + _REACH) * scale
    j = np.clip(column.astype(np.int64), 0, _GRID - 1)
    i = np.clip(row.astype(np.int64), 0, _GRID - 1)
    distance = unit_distance()[shapes[:, None, None], i[:, :, None], j[:, None, :]] * radius[:, None, None]
    cover: Floats = np.clip(0.5 - distance, 0.0, 1.0).astype(np.float32)
    return cover


# -- pictures -----------------------------------------------------------------------------------------------

# layout -> for each thing: centre x, y, how far they may stray, and the range of the radius
_PLACES: dict[str, tuple[tuple[float, float, float, float, float, float], ...]] = {
    "single": ((32, 32, 4, 4, 16.0, 19.0),),
    "small": ((32, 32, 6, 6, 9.5, 11.5),),
    "big": ((32, 32, 1.5, 1.5, 23.5, 25.5),),
    "vertical": ((32, 16.5, 4, 1.2, 11.0, 12.2), (32, 47.5, 4, 1.2, 11.0, 12.2)),
    "horizontal": ((16.5, 32, 1.2, 4, 11.0, 12.2), (47.5, 32, 1.2, 4, 11.0, 12.2)),
}


def _settle(scene: Scene, rng: np.random.Generator) -> Scene:
    """Chooses a colour wherever the scene leaves it open."""

    def settled(thing: Thing) -> Thing:
        free = [name for name in COLOURS if name != scene.background]
        return replace(thing, colour=thing.colour or str(rng.choice(free)))

    return replace(scene, a=scene.a and settled(scene.a), b=scene.b and settled(scene.b))


def render(scenes: Sequence[Scene], rng: np.random.Generator) -> Pixels:
    """Pictures of the scenes, (n, 64, 64, 3)."""
    settled = [_settle(scene, rng) for scene in scenes]
    pictures = np.empty((len(scenes), PICTURE, PICTURE, 3), np.float32)
    for index, scene in enumerate(settled):
        if scene.a is None:
            pictures[index] = draw_scene(scene.layout, rng)
        else:
            pictures[index] = COLOURS[scene.background]
    for turn in (0, 1):
        chosen = [(i, s, (s.a, s.b)[turn]) for i, s in enumerate(settled)]
        work = [(i, s.layout, thing) for i, s, thing in chosen if thing is not None]
        if work:
            _stamp(pictures, work, turn, rng)
    painted: Pixels = np.clip(pictures + 0.5, 0, 255).astype(np.uint8)
    return painted


def _stamp(pictures: Floats, work: list[tuple[int, str, Thing]], turn: int, rng: np.random.Generator) -> None:
    place = np.array([_PLACES[layout][turn] for _, layout, _ in work], np.float32)
    stray = rng.uniform(-1.0, 1.0, (len(work), 2)).astype(np.float32)
    x, y = place[:, 0] + stray[:, 0] * place[:, 2], place[:, 1] + stray[:, 1] * place[:, 3]
    radius = rng.uniform(place[:, 4], place[:, 5]).astype(np.float32)
    kinds = np.array([SHAPES.index(thing.shape) for _, _, thing in work], np.int64)
    paint = np.array([COLOURS[thing.colour] for _, _, thing in work], np.float32)
    rows = np.array([index for index, _, _ in work])
    cover = coverage(kinds, x, y, radius)[..., None]
    pictures[rows] = pictures[rows] * (1 - cover) + paint[:, None, None, :] * cover
