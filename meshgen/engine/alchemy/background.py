"""Background removal: by a network that tells what stands out, or by colour where the background is plain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from meshgen.engine.alchemy.ncnn import Array
from meshgen.engine.alchemy.network import Network
from meshgen.engine.alchemy.picture import flat
from meshgen.engine.port import EngineError

NETWORK_SIDE = 320
"""What U2-Net takes, if a network does not say."""
_MEAN, _SPREAD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
LARGEST_SIDE = 1024
"""By colour, a larger picture is judged reduced to this."""
NEAR, FAR = 28.0, 56.0
"""Distances of colours, of 0 to 441: up to NEAR it is background; from there to FAR, beside the background, half of each."""
PLAIN_SHARE = 0.75
"""So much of the edge must have the background's colours."""


class Cutter:
    """By a network like U2-Net: normalised RGB in, how much each pixel stands out, as its first output."""

    def __init__(self, weights: Path, threads: int) -> None:
        """Raises EngineError("bad_model")."""
        self._network = Network(weights, threads)

    def cut(self, picture: Image.Image) -> Image.Image:
        """RGBA. Raises EngineError."""
        height, width = self._network.sides(NETWORK_SIDE)
        pixels = np.asarray(flat(picture).resize((width, height), Image.Resampling.LANCZOS), np.float32)
        values = (pixels / max(1.0, float(pixels.max())) - _MEAN) / _SPREAD
        standing_out = self._network.run(values.transpose(2, 0, 1)[None])
        if standing_out.shape != (1, 1, height, width):
            raise EngineError(
                "bad_model", f"its network answers with the shape {standing_out.shape}: one value a pixel is needed"
            )
        return _with_alpha(picture, _stretched(standing_out[0, 0]))


def cut_by_colour(picture: Image.Image) -> Image.Image:
    """RGBA: what is joined to the edge and coloured like it becomes transparent.

    Raises EngineError("unsupported") if the edge is not plain: then the background has no one colour.
    """
    small = flat(picture).copy()
    small.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32)
    distance = np.linalg.norm(pixels - _backdrop(pixels), axis=2)
    if (distance[_edge(distance)] <= NEAR).mean() < PLAIN_SHARE:
        raise EngineError("unsupported", "the background is not plain, and this worker removes only backgrounds that are")
    return _with_alpha(picture, _alpha(distance))


def _alpha(distance: Array) -> Array:
    """1 where something stands, 0 at the background, between them at the border of both."""
    from scipy import ndimage

    regions, _ = ndimage.label(distance <= NEAR)
    at_edge = np.unique(regions[_edge(distance)])
    background = np.isin(regions, at_edge[at_edge > 0])
    beside = ndimage.binary_dilation(background, iterations=2) & ~background
    soft = ((distance - NEAR) / (FAR - NEAR)).clip(0, 1)
    return np.where(background, 0.0, np.where(beside, soft, 1.0)).astype(np.float32)


def _backdrop(pixels: Array) -> Array:
    """The background's colour at every pixel: a slope fitted to the edge, twice, the second time without what differs."""
    height, width = pixels.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    terms = np.stack([np.ones_like(rows), rows / height, columns / width], axis=2)
    edge = _edge(pixels[:, :, 0])
    known, colours = terms[edge], pixels[edge]
    near = np.linalg.norm(colours - np.median(colours, axis=0), axis=1)
    kept = near <= np.median(near) + NEAR
    for _ in range(2):
        slope = np.linalg.lstsq(known[kept], colours[kept], rcond=None)[0]
        kept = np.linalg.norm(colours - known @ slope, axis=1) <= NEAR
        if not kept.any():
            break
    return np.asarray(terms @ slope, np.float32)


def _edge(pixels: Array) -> Array:
    """Which pixels lie at the edge, one in fifty deep."""
    height, width = pixels.shape
    deep = max(1, min(height, width) // 50)
    edge = np.ones((height, width), bool)
    edge[deep : height - deep, deep : width - deep] = False
    return edge


def _stretched(values: Array) -> Array:
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-6)


def _with_alpha(picture: Image.Image, alpha: Array) -> Image.Image:
    """The picture with that transparency, enlarged to its size, besides what it had."""
    mask = Image.fromarray(np.asarray(np.round(alpha * 255), np.uint8)).resize(picture.size, Image.Resampling.BICUBIC)
    result = picture.convert("RGBA")
    had = np.asarray(result.getchannel("A"), np.uint16)
    result.putalpha(Image.fromarray((had * np.asarray(mask, np.uint16) // 255).astype(np.uint8)))
    return result
