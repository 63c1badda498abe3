"""Pictures that go into a job: decoded within limits, turned upright, fitted, masked; and what is pasted back. Child side.

A mask is an array of booleans, height x width; true is painted anew.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from scipy.ndimage import distance_transform_edt

from meshgen.engine.port import EngineError, Work

MAX_PIXELS = 50_000_000
"""Of a picture as it comes; 200 MB once it is decoded."""
FORMATS = ("PNG", "JPEG", "WEBP")
OPAQUE = 128  # of 255; what is less is painted anew
WHITE = 128
_SEAM = 64
"""Of the picture's shorter side, the part over which old and new pass into each other, inside the mask."""
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error, zlib.error, MemoryError)
"""What Pillow raises over files that are damaged or made to do damage."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a job starts from: an RGB picture of the job's size and, for inpainting, what of it is painted anew."""

    picture: Image.Image
    mask: Mask | None

    def cells(self, side: int) -> Image.Image:
        """The mask for a denoiser whose latents are ``side`` pixels wide: all cells that it touches, white on black."""
        assert self.mask is not None
        height, width = self.mask.shape
        touched = self.mask.reshape(height // side, side, width // side, side).any(axis=(1, 3))
        return Image.fromarray((touched.repeat(side, 0).repeat(side, 1) * 255).astype(np.uint8))

    def paste_back(self, drawn: Image.Image) -> Image.Image:
        """The source again outside the mask, to the last bit."""
        if self.mask is None:
            return drawn
        depth = distance_transform_edt(self.mask) if not self.mask.all() else np.full(self.mask.shape, np.inf)
        share = np.minimum(depth / (1 + min(self.mask.shape) // _SEAM), 1.0)[..., None]
        old, new = (np.asarray(image.convert("RGB"), dtype=np.float64) for image in (self.picture, drawn))
        return Image.fromarray(np.rint(old + (new - old) * share).astype(np.uint8))


def open_picture(data: bytes, what: str) -> Image.Image:
    """RGB or RGBA, upright. Raises EngineError("bad_input") that calls it ``what``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower
            image = Image.open(BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise EngineError("bad_input", f"{what} has {image.width}x{image.height} pixels; at most {MAX_PIXELS:,} are taken")
        return _plain(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError:
        raise EngineError("bad_input", f"{what} has too many pixels; at most {MAX_PIXELS:,} are taken") from None
    except _UNREADABLE:
        raise EngineError("bad_input", f"{what} can't be read as a picture; PNG, JPEG and WebP are taken") from None


def canvas_of(work: Work) -> Canvas | None:
    """None if the job starts from nothing. Raises EngineError."""
    if not work.source:
        if work.mask:
            raise EngineError("bad_input", "a mask without a source picture: send the picture that it belongs to")
        return None
    size = (work.width, work.height)
    source = fit(open_picture(work.source, "the source picture"), size)
    clear = _clear(source)
    mask = _white(fit(open_picture(work.mask, "the mask"), size)) if work.mask else None
    if mask is not None and not mask.any():
        raise EngineError("bad_input", "the mask is black everywhere: paint white what is to be drawn anew")
    if clear is not None:
        mask = clear if mask is None else mask | clear
        source = _filled(source, clear)
    return Canvas(source.convert("RGB"), mask)


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Enlarged or reduced to cover ``size``, (width, height), and cut to it around its middle."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel
        image = Image.fromarray((np.asarray(image, dtype=np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _white(image: Image.Image) -> Mask:
    """What is transparent counts as black."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.asarray(image.convert("L")) >= WHITE


def _clear(image: Image.Image) -> Mask | None:
    """Where it is transparent; None if that is nowhere."""
    if image.mode != "RGBA":
        return None
    clear: Mask = np.asarray(image)[..., 3] < OPAQUE
    return clear if clear.any() else None


def _filled(image: Image.Image, clear: Mask) -> Image.Image:
    """Something to begin with where it is transparent: the nearest colours, blurred."""
    if clear.all():
        return Image.new("RGB", image.size, (127, 127, 127))
    pixels: NDArray[Any] = np.asarray(image.convert("RGB"))
    rows, columns = distance_transform_edt(clear, return_distances=False, return_indices=True)
    spread = Image.fromarray(pixels[rows, columns])
    blurred = spread.filter(ImageFilter.GaussianBlur(min(image.size) / 24))
    return Image.fromarray(np.where(clear[..., None], np.asarray(blurred), pixels))
