"""Upscalers of the ESRGAN family, tile by tile: memory stays the same however large the picture is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from PIL import Image

from meshgen.engine.alchemy.ncnn import Array
from meshgen.engine.port import EngineError
from meshgen.pictures import MAX_SIDE

TILE = 128
BORDER = 10
"""Pixels around a tile that are computed with it and cut away, so that no seam shows."""


class Runs(Protocol):
    """A network, on whatever it runs."""

    def run(self, values: Array) -> Array: ...


class Upscaler:
    """Enlarges by a network: RGB by it, transparency by plain interpolation."""

    def __init__(self, network: Runs, scale: int) -> None:
        """Raises EngineError("bad_model") if the network does not enlarge by ``scale``."""
        self.scale = scale
        self._network = network
        self._run(np.zeros((4, 6, 3), np.uint8))

    def enlarge(self, picture: Image.Image, alive: Callable[[], None]) -> Image.Image:
        """``alive`` is called after each tile. Raises EngineError("bad_input") if the result would be too large."""
        width, height = picture.size
        if max(width, height) * self.scale > MAX_SIDE:
            most = MAX_SIDE // self.scale
            raise EngineError("bad_input", f"{width}x{height} pixels: enlarged x{self.scale}, a side may have at most {most}")
        pixels = np.asarray(picture.convert("RGB"))
        result = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                self._tile(pixels, result, top, left)
                alive()
        enlarged = Image.fromarray(result)
        if picture.mode == "RGBA":
            enlarged.putalpha(picture.getchannel("A").resize(enlarged.size, Image.Resampling.BICUBIC))
        return enlarged

    def _tile(self, pixels: Array, result: Array, top: int, left: int) -> None:
        """Compute a tile with the border around it, and put what is inside the border in its place."""
        first_row, first_column = max(0, top - BORDER), max(0, left - BORDER)
        source = pixels[first_row : top + TILE + BORDER, first_column : left + TILE + BORDER]
        done = self._run(source)
        inside = result[top * self.scale : (top + TILE) * self.scale, left * self.scale : (left + TILE) * self.scale]
        row, column = (top - first_row) * self.scale, (left - first_column) * self.scale
        inside[:] = done[row : row + inside.shape[0], column : column + inside.shape[1]]

    def _run(self, pixels: Array) -> Array:
        """(height, width, 3) bytes to the same, enlarged. Some networks take even sides only: they get them."""
        height, width = pixels.shape[:2]
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        values = even.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
        done = self._network.run(values)[0].transpose(1, 2, 0)
        if done.shape != (even.shape[0] * self.scale, even.shape[1] * self.scale, 3):
            raise EngineError("bad_model", f"its network does not enlarge x{self.scale}")
        return np.asarray(np.round(done[: height * self.scale, : width * self.scale].clip(0, 1) * 255), np.uint8)
