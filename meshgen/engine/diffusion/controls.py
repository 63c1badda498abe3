"""Maps that ControlNets follow, made from pictures where that needs no weights: edges, scribbles, straight lines. Child side.

A map is an RGB picture of the job's size, white lines on black.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, gaussian_filter, label, sobel

from meshgen.engine.diffusion.conditioning import fit, open_picture
from meshgen.engine.port import Control, EngineError

_SHORTEST = 1 / 16  # a straight line, of the picture's shorter side
_ANGLES = 180
_MOST_LINES = 64

Colours = NDArray[np.float64]
"""Height x width x 3, from 0 to 1."""
Changes = NDArray[np.float64]
Lines = NDArray[np.bool_]


def map_of(control: Control, size: tuple[int, int]) -> Image.Image:
    """``size``: (width, height). Raises EngineError."""
    image = fit(open_picture(control.image, "the picture for ControlNet"), size).convert("RGB")
    if control.is_map:
        return image
    maker = MAKERS.get(control.name.lower())
    if maker is None:
        known = ", ".join(sorted(MAKERS))
        raise EngineError(
            "unsupported",
            f"no {control.name[:32]} map can be made here, only {known}: send the map itself and say that it is one",
        )
    return Image.fromarray((maker(np.asarray(image, dtype=np.float64) / 255) * 255).astype(np.uint8)).convert("RGB")


def canny(picture: Colours, sigma: float = 1.0, low: float = 0.06, high: float = 0.15) -> Lines:
    """Edges one pixel wide: steps of any colour by about ``high``, and those by ``low`` that touch them."""
    smooth = gaussian_filter(picture, (sigma, sigma, 0))
    across, down = (sigma * sobel(smooth, axis) / 4 for axis in (1, 0))
    colour = np.hypot(across, down).argmax(-1)[..., None]  # each pixel's clearest
    across, down = (np.take_along_axis(change, colour, -1)[..., 0] for change in (across, down))
    strength = np.hypot(across, down)
    ridge = np.where(_is_ridge(strength, across, down), strength, 0.0)
    parts, _ = label(ridge >= low, np.ones((3, 3)))
    strong = np.unique(parts[ridge >= high])
    kept: Lines = np.isin(parts, strong[strong > 0])
    return kept


def scribble(picture: Colours) -> Lines:
    """The main edges, as if by a thick pen."""
    width = max(1, min(picture.shape[:2]) // 256)
    thick: Lines = binary_dilation(canny(picture, 1.0 + width, 0.1, 0.2), iterations=width)
    return thick


def hough(picture: Colours) -> Lines:
    """Straight lines, found by their votes among the edges; edges that a line has explained vote no more."""
    left = canny(picture)
    drawn = Image.new("1", (picture.shape[1], picture.shape[0]))
    shortest = max(8, int(min(left.shape) * _SHORTEST))
    votes, reach = _votes(left), _reach(left)
    for _ in range(_MOST_LINES):
        at, number = np.unravel_index(int(votes.argmax()), votes.shape)
        if votes[at, number] < shortest:
            break
        band = Image.new("1", drawn.size)
        for start, end in _runs(left, int(at) - reach, int(number) * np.pi / _ANGLES, shortest):
            ImageDraw.Draw(drawn).line([start, end], fill=1)
            ImageDraw.Draw(band).line([start, end], fill=1, width=5)
        explained = left & np.asarray(band)
        left &= ~explained
        votes -= _votes(explained)
        votes[at, number] = 0
    return np.asarray(drawn)


MAKERS: dict[str, Callable[[Colours], Lines]] = {
    "canny": canny,
    "scribble": scribble,
    "scribbles": scribble,
    "fakescribble": scribble,
    "fakescribbles": scribble,
    "hough": hough,
}
"""Control types whose maps are made here."""


def _is_ridge(strength: Changes, across: Changes, down: Changes) -> Lines:
    """Where the gradient's strength is no less than that of its neighbours before and behind."""
    turn = (np.rint(np.arctan2(down, across) / (np.pi / 4)).astype(int)) % 4
    padded = np.pad(strength, 1)
    height, width = strength.shape
    ridge = np.zeros(strength.shape, dtype=bool)
    for quarter, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        ridge |= (turn == quarter) & (strength >= ahead) & (strength > behind)
    return ridge


def _reach(edges: Lines) -> int:
    """No line is farther from the corner."""
    return int(np.ceil(np.hypot(*edges.shape)))


def _votes(edges: Lines) -> NDArray[np.int64]:
    """Votes by distance from the corner, shifted by the reach, and by angle."""
    rows, columns = np.nonzero(edges)
    reach = _reach(edges)
    votes = np.zeros((2 * reach + 1, _ANGLES), dtype=np.int64)
    for number in range(_ANGLES):
        angle = number * np.pi / _ANGLES
        distances = np.rint(columns * np.cos(angle) + rows * np.sin(angle)).astype(int) + reach
        votes[:, number] = np.bincount(distances, minlength=2 * reach + 1)
    return votes


def _runs(edges: Lines, distance: int, angle: float, shortest: int) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The stretches of one straight line that lie on edges, as (x, y) of both ends; small gaps are closed."""
    height, width = edges.shape
    along = np.arange(-sum(edges.shape), sum(edges.shape))
    x = distance * np.cos(angle) - along * np.sin(angle)
    y = distance * np.sin(angle) + along * np.cos(angle)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = x[inside], y[inside]
    near = binary_dilation(edges, np.ones((3, 3)))
    on = near[np.rint(y).astype(int), np.rint(x).astype(int)]
    steps = np.flatnonzero(np.diff(np.concatenate(([False], on, [False])).astype(int)))
    pairs = zip(steps[::2], steps[1::2], strict=True)
    return [((x[start], y[start]), (x[end - 1], y[end - 1])) for start, end in pairs if end - start >= shortest]
