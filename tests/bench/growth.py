"""How a figure grows with the mesh, beside the mesh's logarithm: what grows faster is not for a mesh of millions."""

from __future__ import annotations

import math
from collections.abc import Sequence


def growth(sizes: Sequence[int], values: Sequence[float], each: int) -> float:
    """By how much a figure is multiplied when the mesh is by ``each``; 1 where there is nothing to compare."""
    steps = math.log(sizes[-1] / sizes[0], each)
    return (values[-1] / values[0]) ** (1 / steps) if steps and values[0] > 0 and values[-1] > 0 else 1.0


def of_logarithm(sizes: Sequence[int], each: int) -> float:
    """The same of the logarithm of the mesh."""
    return growth(sizes, [math.log(size) for size in sizes], each)


def column(sizes: Sequence[int], values: Sequence[float], each: int) -> str:
    return f"{'x ' + format(growth(sizes, values, each), '.2f'):>12}"


def head(sizes: Sequence[int], each: int) -> str:
    """Of that column, with what it would say of something that grows as the logarithm."""
    return f"{f'each x{each}':>12}   (the logarithm: x {of_logarithm(sizes, each):.2f})"
