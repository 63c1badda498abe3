"""Reads a 64x64 picture back into a `Scene`, from its pixels alone, and says whether it shows what was asked.

No network: the background is the border's colour, things are connected regions that differ from it, a thing's colour
is the nearest of the palette over its inside, and its shape is the template that covers it best once both have the
same centre and area. It knows nothing of the prompt, so it can't be talked into anything; a region that fits no
template or no colour well is read as "?", and whatever holds a "?" is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meshgen.engine.bundled.draw import COLOURS, PICTURE, SCENES, SHAPES, Pixels, Scene, Thing, coverage
from meshgen.engine.bundled.scenes import draw_scene

__all__ = ["PARTS", "Seen", "parts_right", "read_picture", "read_scene", "right"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

PARTS = ("background", "layout", "first shape", "first colour", "second shape", "second colour")

_FAR = 60.0  # a pixel further than this from the background's colour belongs to a thing
_COLOUR_GAP = 55.0  # a region's colour may be so far from the palette's
_MIN_AREA = 60  # pixels; the smallest thing drawn has about 110
_SPECK = 10  # regions of fewer pixels are noise; between the two they spoil the picture
_FIT = 0.80  # intersection over union that a shape must reach with its template
_SCENE_GAP = 30.0  # root mean square distance, in 8-bit steps, from the nearest drawing of a scene
_SMALL, _BIG = 13.5, 21.0  # bounds of the radius


@dataclass(frozen=True, slots=True)
class Seen:
    """One region of a picture, read."""

    thing: Thing
    x: float
    y: float
    radius: float
    fit: float


def _nearest(colour: Floats) -> str:
    gaps = {name: float(np.linalg.norm(colour - np.array(value))) for name, value in COLOURS.items()}
    name = min(gaps, key=lambda key: gaps[key])
    return name if gaps[name] <= _COLOUR_GAP else "?"


def _regions(mask: Bools) -> list[Bools]:
    """Connected regions (four neighbours) of more than a speck, largest first."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        stack, region = [left.pop()], np.zeros_like(mask)
        while stack:
            y, x = stack.pop()
            region[y, x] = True
            near = left & {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)}
            left -= near
            stack.extend(near)
        if region.sum() >= _SPECK:
            found.append(region)
    return sorted(found, key=lambda region: -int(region.sum()))


def _inside(region: Bools) -> Bools:
    """The region without its rim, where colours are mixed; the region itself if nothing were left."""
    padded = np.pad(region, 1)
    inner = region & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner if inner.sum() >= 12 else region


def _moments(mask: Floats) -> tuple[float, float, float]:
    area = float(mask.sum())
    at = np.arange(PICTURE, dtype=np.float32) + 0.5
    return float((mask.sum(0) * at).sum() / area), float((mask.sum(1) * at).sum() / area), area


_UNIT: dict[int, tuple[float, float, float]] = {}


def _unit_moments(index: int) -> tuple[float, float, float]:
    """Where a shape's centre of mass lies and how large its area is, at radius 1."""
    if index not in _UNIT:
        middle = np.full(1, 32, np.float32)
        x, y, area = _moments(coverage(np.array([index]), middle, middle, np.full(1, 20, np.float32))[0])
        _UNIT[index] = ((x - 32) / 20, (y - 32) / 20, area / 400)
    return _UNIT[index]


def _shape(cover: Floats) -> tuple[str, float, float]:
    """The best shape for a region's coverage, its fit (intersection over union) and its radius."""
    x, y, area = _moments(cover)
    units = np.array([_unit_moments(index) for index in range(len(SHAPES))], np.float32)
    radius = np.sqrt(area / units[:, 2]).astype(np.float32)
    every = np.arange(len(SHAPES))
    template = coverage(every, x - units[:, 0] * radius, y - units[:, 1] * radius, radius)
    fit = np.minimum(template, cover).sum((1, 2)) / np.maximum(template, cover).sum((1, 2))
    best = int(fit.argmax())
    return SHAPES[best] if fit[best] >= _FIT else "?", float(fit[best]), float(radius[best])


def _see(picture: Floats, region: Bools, background: Floats) -> Seen:
    paint = np.median(picture[_inside(region)], axis=0).astype(np.float32)
    # Between the background's colour and the paint, a rim pixel's colour says how much of it is covered.
    axis = paint - background
    along = ((picture - background) @ axis) / max(float(axis @ axis), 1.0)
    padded = np.pad(region, 1)
    near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:] | region
    cover = np.where(near, np.clip(along, 0.0, 1.0), 0.0).astype(np.float32)
    shape, fit, radius = _shape(cover)
    x, y, _ = _moments(cover)
    return Seen(Thing(shape, _nearest(paint)), x, y, radius, fit)


def read_picture(picture: Pixels) -> tuple[str, list[Seen], bool]:
    """The background's colour, the things, and whether nothing else of note is in the picture."""
    pixels = picture.astype(np.float32)
    rim = np.concatenate(
        [pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3), pixels[:, :2].reshape(-1, 3), pixels[:, -2:].reshape(-1, 3)]
    )
    background = np.median(rim, axis=0).astype(np.float32)
    apart = np.linalg.norm(pixels - background, axis=2) > _FAR
    regions = _regions(apart)
    things = [_see(pixels, region, background) for region in regions if region.sum() >= _MIN_AREA]
    clean = len(things) == len(regions)
    return _nearest(background), things, clean


_TEMPLATES: dict[str, Floats] = {}


def _scene_templates(name: str) -> Floats:
    if name not in _TEMPLATES:
        rng = np.random.default_rng(0)
        _TEMPLATES[name] = np.stack([draw_scene(name, rng) for _ in range(128)])
    return _TEMPLATES[name]


def _read_whole(picture: Pixels) -> str:
    """The scene that the picture looks like all over, or nothing."""
    pixels = picture.astype(np.float32)
    gaps = {name: float(np.sqrt(np.square(_scene_templates(name) - pixels).mean((1, 2, 3)).min())) for name in SCENES}
    name = min(gaps, key=lambda key: gaps[key])
    return name if gaps[name] < _SCENE_GAP else ""


def _single_layout(seen: Seen) -> str:
    return "small" if seen.radius < _SMALL else "big" if seen.radius > _BIG else "single"


def read_scene(picture: Pixels) -> Scene:
    """What the picture shows; "?" stands for whatever can't be told."""
    whole = _read_whole(picture)
    if whole:
        return Scene(whole)
    background, things, clean = read_picture(picture)
    if not clean or len(things) not in (1, 2):
        first, second = [*(seen.thing for seen in things[:2]), None, None][:2]
        return Scene("?", first, second, background)
    if len(things) == 1:
        centred = abs(things[0].x - 32) < 12 and abs(things[0].y - 32) < 12
        return Scene(_single_layout(things[0]) if centred else "?", things[0].thing, None, background)
    across, down = things[1].x - things[0].x, things[1].y - things[0].y
    layout = "vertical" if abs(down) > 1.5 * abs(across) else "horizontal" if abs(across) > 1.5 * abs(down) else "?"
    ordered = sorted(things, key=lambda seen: seen.y if layout == "vertical" else seen.x)
    return Scene(layout, ordered[0].thing, ordered[1].thing, background)


def _told(scene: Scene) -> tuple[str, ...]:
    said = [scene.background, scene.layout]
    for thing in (scene.a, scene.b):
        said += [thing.shape, thing.colour] if thing is not None else ["", ""]
    return tuple(said)


def parts_right(picture: Pixels, asked: Scene) -> dict[str, bool]:
    """For each attribute that was asked for, whether the picture has it."""
    shown = _told(read_scene(picture))
    return {part: is_ == should for part, is_, should in zip(PARTS, shown, _told(asked), strict=True) if should}


def right(picture: Pixels, asked: Scene) -> bool:
    """Whether the picture shows all of what was asked for, and nothing else."""
    shown = read_scene(picture)
    return all(parts_right(picture, asked).values()) and (shown.b is None) == (asked.b is None)
