"""What a picture costs by default, in milli-kudos (1000 = one kudo).

AI Horde's published fallback formula, so that people's sense of a kudo holds: a 512x512 picture of 50 steps is about 10 kudos.
A worker multiplies the tariff by its own ``price_permille``; the requester's offer says the most that it pays.
"""

from __future__ import annotations

import math

_BASE_PIXELS = 64 * 64
_FULL_PIXELS = 1024 * 1024


def picture_mkudos(width: int, height: int, steps: int) -> int:
    """The tariff for one picture: sides in pixels, at least 1 mkudo."""
    beyond: float = max(0.0, (width * height - _BASE_PIXELS) / (_FULL_PIXELS - _BASE_PIXELS))
    return max(1, math.ceil(123.2 * steps * (1 + 8.75 * math.pow(beyond, 1.75))))


def scaled(mkudos: int, permille: int) -> int:
    """The tariff at a worker's own price; free (0) only if the owner says 0."""
    return -(-mkudos * permille // 1000)
