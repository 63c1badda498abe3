"""Pictures for the tests, drawn by a few lines: a landscape, a shape that looks like skin to a classifier, things on a table."""

from __future__ import annotations

import random
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from meshgen.engine.alchemy.ncnn import Array

_FINER = 4
"""Drawn so many times larger, then reduced: lines get soft edges."""
_INK = "#222222"
_SKIN = ("#e0ac8a", "#f1c7a8", "#c98a68", "#a8674c")


def png(picture: Image.Image, kind: str = "PNG") -> bytes:
    out = BytesIO()
    picture.save(out, kind)
    return out.getvalue()


def pixels(picture: Image.Image) -> Array:
    return np.asarray(picture, np.float64)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """In decibels; the higher, the more alike."""
    return float(10 * np.log10(255**2 / ((pixels(one) - pixels(other)) ** 2).mean()))


def landscape(side: int) -> Image.Image:
    """Mountains, a house, three trees and the sun."""
    unit = side * _FINER / 256
    picture = Image.new("RGB", (side * _FINER, side * _FINER), "#9fd3f2")
    draw = ImageDraw.Draw(picture)

    def at(*places: float) -> list[float]:
        return [place * unit for place in places]

    def shape(kind: str, places: list[float], colour: str, line: float) -> None:
        getattr(draw, kind)(places, fill=colour, outline=_INK, width=int(line * unit))

    shape("ellipse", at(186, 18, 228, 60), "#ffe066", 2)
    shape("polygon", at(0, 150, 60, 70, 110, 150), "#6b7a8f", 2)
    shape("polygon", at(70, 150, 150, 50, 230, 150), "#8796ab", 2)
    draw.rectangle(at(0, 150, 256, 256), fill="#5fae5b")
    draw.line(at(0, 150, 256, 150), fill=_INK, width=int(2 * unit))
    shape("rectangle", at(60, 140, 130, 200), "#d9583b", 3)
    shape("polygon", at(50, 142, 95, 100, 140, 142), "#7a3b2e", 3)
    shape("rectangle", at(86, 165, 104, 200), "#4a2c20", 2)
    for left in (66, 110):
        shape("rectangle", at(left, 150, left + 14, 164), "#fff4c2", 2)
    for x, y, radius in ((180, 170, 22), (214, 185, 16), (20, 180, 18)):
        shape("rectangle", at(x - 3, y, x + 3, y + 35), "#5a3a22", 1.5)
        shape("ellipse", at(x - radius, y - radius, x + radius, y + radius), "#2f7d3b", 2)
    return picture.resize((side, side), Image.Resampling.BOX)


def skin_toned_shapes() -> Image.Image:
    """Blurred ovals in the colours of skin: nothing to be seen, but a classifier has its doubts."""
    chance = random.Random(9)
    picture = Image.new("RGB", (256, 256), "#d9b29a")
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, across, down = (chance.uniform(*span) for span in ((20, 236), (20, 236), (15, 70), (15, 90)))
        draw.ellipse([x - across, y - down, x + across, y + down], fill=chance.choice(_SKIN))
    return picture.filter(ImageFilter.GaussianBlur(10))


def mug(side: int) -> tuple[Image.Image, Array]:
    """A red mug before a wall that gets darker downwards, with some noise; and where the mug is."""
    rows = np.linspace(225, 195, side)[:, None, None]
    noise = np.random.default_rng(5).normal(0, 3, (side, side, 3))
    wall = (np.broadcast_to(rows, (side, side, 3)) + noise).clip(0, 255).astype(np.uint8)
    unit = side / 256
    mask = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(mask)
    draw.ellipse([150 * unit, 100 * unit, 215 * unit, 170 * unit], fill=255)
    draw.rectangle([70 * unit, 80 * unit, 165 * unit, 200 * unit], fill=255)
    picture = Image.fromarray(wall)
    picture.paste(Image.new("RGB", (side, side), "#b8332a"), (0, 0), mask)
    return picture, np.asarray(mask) > 127
