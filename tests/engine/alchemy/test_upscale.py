"""Tiles: no seam, no pixel lost, at any size. The network hands each pixel on, so that every one can be checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meshgen.engine.alchemy.ncnn import read_ncnn
from meshgen.engine.alchemy.network import Network
from meshgen.engine.alchemy.onnx_file import to_onnx
from meshgen.engine.port import EngineError
from meshgen.pictures import MAX_SIDE
from tests.engine.alchemy.tiny_models import ncnn_upscaler, save_upscaler

upscale = pytest.importorskip("meshgen.engine.alchemy.upscale")
pytest.importorskip("onnxruntime")


def upscaler(folder: Path, scale: int, says: int | None = None) -> upscale.Upscaler:
    save_upscaler(folder, "tiny", scale)
    layers = read_ncnn(folder / "tiny.param", folder / "tiny.bin")
    return upscale.Upscaler(Network(to_onnx(layers), 1), says or scale)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = (len(mode),) if len(mode) > 1 else ()
    return Image.fromarray(np.random.default_rng(width * height).integers(0, 256, (height, width, *channels), np.uint8), mode)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(("width", "height", "tiles"), [(1, 1, 1), (128, 128, 1), (129, 5, 2), (300, 140, 6)])
def test_every_pixel_is_in_its_place(tmp_path: Path, scale: int, width: int, height: int, tiles: int) -> None:
    alive: list[int] = []
    picture = noise(width, height)
    enlarged = upscaler(tmp_path, scale).enlarge(picture, lambda: alive.append(1))
    assert enlarged.mode == "RGB" and len(alive) == tiles
    assert np.array_equal(np.asarray(enlarged), np.asarray(picture).repeat(scale, 0).repeat(scale, 1))


def test_transparency_grows_too(tmp_path: Path) -> None:
    picture = noise(20, 10, "RGBA")
    picture.putalpha(77)
    enlarged = upscaler(tmp_path, 4).enlarge(picture, lambda: None)
    assert enlarged.size == (80, 40) and enlarged.getchannel("A").getextrema() == (77, 77)


def test_a_result_that_would_be_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=str(MAX_SIDE // 4)) as caught:
        upscaler(tmp_path, 4).enlarge(Image.new("RGB", (MAX_SIDE // 4 + 1, 1)), lambda: None)
    assert caught.value.reason == "bad_input"


def test_a_network_that_enlarges_otherwise_is_a_bad_model(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="not enlarge x2") as caught:
        upscaler(tmp_path, 4, says=2)
    assert caught.value.reason == "bad_model"


def test_a_network_that_does_not_fit_together_is_a_bad_model(tmp_path: Path) -> None:
    param, weights = ncnn_upscaler(4)
    (tmp_path / "tiny.param").write_text(param.replace("Concat both 2 1 b c d", "Concat both 2 1 b b d"))
    (tmp_path / "tiny.bin").write_bytes(weights)
    with pytest.raises(EngineError) as caught:
        upscale.Upscaler(Network(to_onnx(read_ncnn(tmp_path / "tiny.param", tmp_path / "tiny.bin")), 1), 4)
    assert caught.value.reason == "bad_model"
