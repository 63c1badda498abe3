"""Maps for ControlNets that need no weights."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")
pytest.importorskip("scipy")

import numpy as np
from PIL import Image, ImageDraw

from meshgen.engine.diffusion.controls import MAKERS, map_of
from meshgen.engine.port import Control, EngineError
from tests.engine.pictures import Pixels, encoded


def square() -> Image.Image:
    image = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(image).rectangle((32, 32, 95, 95), fill="black")
    return image


def made(name: str, image: Image.Image, **changes: bool) -> Pixels:
    return np.asarray(map_of(Control(name, bytes(32), encoded(image), **changes), (128, 128)))[..., 0]


def near_the_outline(lines: Pixels, reach: int) -> float:
    """The part of the lines that lies within ``reach`` pixels of the square's outline."""
    rows, columns = np.nonzero(lines)
    away = np.maximum(np.abs(rows - 63.5), np.abs(columns - 63.5))
    return float((np.abs(away - 32) <= reach).mean())


@pytest.mark.parametrize(("name", "reach"), [("canny", 1), ("scribble", 5), ("fakescribbles", 5), ("hough", 2)])
def test_lines_lie_where_the_edges_are(name: str, reach: int) -> None:
    lines = made(name, square())
    assert set(np.unique(lines)) <= {0, 255}
    assert near_the_outline(lines, reach) > 0.97
    for side in (lines[32 - reach : 33 + reach], lines[95 - reach : 97 + reach]):
        assert side[:, 40:90].any(axis=0).mean() > 0.9, "whole edges, not pieces"


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_where_nothing_is_no_line_is(name: str) -> None:
    assert not made(name, Image.new("RGB", (50, 70), (90, 120, 200))).any()


def test_canny_forgets_noise_and_keeps_faint_ends_of_strong_edges() -> None:
    rng = np.random.default_rng(1)
    noise = np.clip(128 + rng.normal(0, 4, (128, 128)), 0, 255).astype(np.uint8)
    assert not made("canny", Image.fromarray(noise)).any()
    fading = np.full((128, 128), 128, dtype=np.uint8)
    fading[:, 64:] = np.linspace(255, 178, 128)[:, None]
    assert made("canny", Image.fromarray(fading))[:, 60:68].any(axis=1).mean() > 0.95


def test_hough_finds_slanted_lines_and_no_circles() -> None:
    image = Image.new("RGB", (128, 128))
    ImageDraw.Draw(image).line((10, 20, 110, 90), fill="white", width=3)
    slanted = made("hough", image)
    rows, columns = np.nonzero(slanted)
    assert len(rows) > 80 and np.abs(rows - (20 + (columns - 10) * 0.7)).max() < 6
    dot = Image.new("RGB", (128, 128))
    ImageDraw.Draw(dot).ellipse((58, 58, 66, 66), fill="white")
    assert not made("hough", dot).any()


def test_a_map_is_taken_as_it_is() -> None:
    assert (made("depth", square(), is_map=True) == np.asarray(square())[..., 0]).all()


def test_maps_that_need_weights_are_refused_with_a_way_out() -> None:
    with pytest.raises(EngineError, match=r"no depth map can be made here, only canny, .*: send the map itself") as caught:
        made("depth", square())
    assert caught.value.reason == "unsupported"
    with pytest.raises(EngineError, match="the picture for ControlNet can't be read"):
        map_of(Control("canny", bytes(32), b"nothing"), (64, 64))
