"""Maps that ControlNets follow, made from pictures where that needs no weights: edges, scribbles, straight lines. Child side.

A map is an RGB picture of the job's size, white lines on black.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, gaussian_filter, label, sobel  # type: ignore[import-untyped]

from meshgen.engine.conditioning import fit, open_picture
from meshgen.engine.port import Control, EngineError

_SHORTEST = 1 / 16  # a straight line, of the picture's shorter side
_ANGLES = 180
_MOST_LINES = 64

Grey = NDArray[np.float64]
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
    grey = np.asarray(image.convert("L"), dtype=np.float64) / 255
    return Image.fromarray((maker(grey) * 255).astype(np.uint8)).convert("RGB")


def canny(grey: Grey, sigma: float = 1.0, low: float = 0.1, high: float = 0.25) -> Lines:
    """Edges one pixel wide: those as strong as ``high`` (brightness a pixel), and those from ``low`` that touch them."""
    smooth = gaussian_filter(grey, sigma)
    across, down = sobel(smooth, 1) / 4, sobel(smooth, 0) / 4
    strength = np.hypot(across, down)
    ridge = np.where(_is_ridge(strength, across, down), strength, 0.0)
    weak = ridge >= low
    parts, _ = label(weak, np.ones((3, 3)))
    strong = np.unique(parts[ridge >= high])
    kept: Lines = np.isin(parts, strong[strong > 0])
    return kept


def scribble(grey: Grey) -> Lines:
    """The main edges, as if by a thick pen."""
    width = max(1, min(grey.shape) // 256)
    edges = canny(grey, sigma=1.0 + 2.0 * width)
    thick: Lines = binary_dilation(edges | canny(grey, 2.0, 0.2, 0.4), iterations=width)
    return thick


def hough(grey: Grey) -> Lines:
    """Straight lines, found by their votes among the edges."""
    edges = canny(grey)
    drawn = Image.new("1", (grey.shape[1], grey.shape[0]))
    pen = ImageDraw.Draw(drawn)
    shortest = max(8, int(min(grey.shape) * _SHORTEST))
    near = binary_dilation(edges, np.ones((3, 3)))
    votes, reach, angles = _votes(edges)
    for _ in range(_MOST_LINES):
        at, angle = np.unravel_index(int(votes.argmax()), votes.shape)
        if votes[at, angle] < shortest:
            break
        for start, end in _runs(near, int(at) - reach, angles[angle], shortest):
            pen.line([start, end], fill=1)
        votes[max(at - 2, 0) : at + 3, max(angle - 2, 0) : angle + 3] = 0
    return np.asarray(drawn)


MAKERS: dict[str, Callable[[Grey], Lines]] = {
    "canny": canny,
    "scribble": scribble,
    "scribbles": scribble,
    "fakescribble": scribble,
    "fakescribbles": scribble,
    "hough": hough,
}
"""Control types whose maps are made here."""


def _is_ridge(strength: Grey, across: Grey, down: Grey) -> Lines:
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


def _votes(edges: Lines) -> tuple[NDArray[np.int64], int, Grey]:
    """Votes by distance from the corner, shifted by ``reach``, and angle; the reach; the angles."""
    rows, columns = np.nonzero(edges)
    angles = np.arange(_ANGLES) * np.pi / _ANGLES
    reach = int(np.ceil(np.hypot(*edges.shape)))
    votes = np.zeros((2 * reach + 1, _ANGLES), dtype=np.int64)
    for number, angle in enumerate(angles):
        distances = np.rint(columns * np.cos(angle) + rows * np.sin(angle)).astype(int) + reach
        votes[:, number] = np.bincount(distances, minlength=2 * reach + 1)
    return votes, reach, angles


def _runs(near: Lines, distance: int, angle: float, shortest: int) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The stretches of one straight line that lie on edges, as (x, y) of both ends; small gaps are closed."""
    height, width = near.shape
    along = np.arange(-sum(near.shape), sum(near.shape))
    x = distance * np.cos(angle) - along * np.sin(angle)
    y = distance * np.sin(angle) + along * np.cos(angle)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = x[inside], y[inside]
    on = near[np.rint(y).astype(int), np.rint(x).astype(int)]
    steps = np.flatnonzero(np.diff(np.concatenate(([False], on, [False])).astype(int)))
    pairs = zip(steps[::2], steps[1::2], strict=True)
    return [((x[start], y[start]), (x[end - 1], y[end - 1])) for start, end in pairs if end - start >= shortest]
