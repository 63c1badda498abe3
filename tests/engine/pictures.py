"""Work and pictures for tests of the engine; nothing here needs torch."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meshgen.engine.port import Work

Pixels = NDArray[Any]

SIDE = 32


def work(**changes: Any) -> Work:
    fields: dict[str, Any] = {
        "model": "tiny", "prompt": "a red circle", "negative_prompt": "", "width": SIDE, "height": SIDE, "steps": 3,
        "guidance_scale": 5.0, "scheduler": "", "seeds": (7,),
    }  # fmt: skip
    return Work(**{**fields, **changes})


def pixels(png: bytes) -> Pixels:
    with Image.open(BytesIO(png)) as image:
        assert image.format == "PNG" and not image.info
        return np.asarray(image.convert("RGB")).astype(int)


def far(one: Pixels, other: Pixels) -> int:
    """The largest difference of any pixel, of 255."""
    return int(np.abs(one - other).max())


def encoded(image: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image.astype(np.uint8))
    image.save(file, kind, **options)
    return file.getvalue()


def scene(side: int = SIDE) -> Image.Image:
    """A red square on a blue slope."""
    slope = np.linspace(60, 255, side)[:, None].repeat(side, 1)
    array = np.stack([slope * 0.2, slope * 0.4, slope], axis=-1).astype(np.uint8)
    array[side // 4 : side // 2, side // 4 : side // 2] = (220, 30, 30)
    return Image.fromarray(array)


def square_mask(side: int = SIDE) -> Image.Image:
    """White in the middle."""
    mask = np.zeros((side, side), dtype=np.uint8)
    mask[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 255
    return Image.fromarray(mask)
