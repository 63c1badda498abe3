"""Background removal: by colour where the background is plain, by a network from the folder, refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meshgen.engine.port import EngineError
from tests.engine.alchemy.drawn import landscape, mug, skin_toned_shapes
from tests.engine.alchemy.tiny_models import red_finder

pytest.importorskip("scipy")
from meshgen.engine.alchemy.background import Cutter, cut_by_colour


def overlap(cut: Image.Image, mask: np.ndarray) -> float:  # type: ignore[type-arg]
    kept = np.asarray(cut.getchannel("A")) > 127
    return float((kept & mask).sum() / (kept | mask).sum())


@pytest.mark.parametrize("side", [64, 256, 1500])
def test_what_stands_before_a_plain_wall_is_cut_out(side: int) -> None:
    picture, mask = mug(side)
    cut = cut_by_colour(picture)
    assert cut.mode == "RGBA" and cut.size == picture.size and overlap(cut, mask) > 0.97
    assert np.array_equal(np.asarray(cut.convert("RGB")), np.asarray(picture))


def test_what_was_transparent_stays_so() -> None:
    picture, _ = mug(64)
    picture.putalpha(100)
    assert cut_by_colour(picture).getchannel("A").getextrema() == (0, 100)


def test_an_empty_wall_leaves_nothing() -> None:
    assert cut_by_colour(Image.new("RGB", (30, 20), "#777777")).getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("picture", [landscape(128), skin_toned_shapes()])
def test_a_background_that_is_not_plain_is_refused(picture: Image.Image) -> None:
    with pytest.raises(EngineError, match="plain") as caught:
        cut_by_colour(picture)
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_tiny_pictures_are_no_trouble(size: tuple[int, int]) -> None:
    assert cut_by_colour(Image.new("RGB", size, "red")).size == size


def test_a_network_from_the_folder_finds_what_stands_out(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "red.onnx").write_bytes(red_finder())
    picture, mask = mug(256)
    cut = Cutter(tmp_path / "red.onnx", 1).cut(picture)
    assert cut.size == picture.size and overlap(cut, mask) > 0.97
    (tmp_path / "red.onnx").write_bytes(b"no network")
    with pytest.raises(EngineError, match="loaded") as caught:
        Cutter(tmp_path / "red.onnx", 1)
    assert caught.value.reason == "bad_model"
