"""ESRGAN weights as safetensors: both layouts are the very network that ncnn's files describe, and x2 folds its input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")
pytest.importorskip("safetensors")
from safetensors.numpy import save_file

from meshgen.engine.alchemy.esrgan import read_esrgan
from meshgen.engine.alchemy.forms import find_forms
from meshgen.engine.alchemy.ncnn import read_ncnn
from meshgen.engine.alchemy.network import Network
from meshgen.engine.alchemy.onnx_file import to_onnx
from meshgen.engine.alchemy.upscale import Upscaler
from meshgen.engine.port import EngineError
from tests.engine.alchemy.drawn import landscape

BLOCKS = 2
ENDS = ("first", "body", "up1", "up2", "hr", "last")
OLD = {
    "first": "model.0",
    "body": f"model.1.sub.{BLOCKS}",
    "up1": "model.3",
    "up2": "model.6",
    "hr": "model.8",
    "last": "model.10",
}


def names(blocks: int) -> list[str]:
    """The convolutions' names in the order in which they run."""
    inner = [f"body.{block}.rdb{dense}.conv{conv}" for block in range(blocks) for dense in (1, 2, 3) for conv in range(1, 6)]
    return ["conv_first", *inner, *(f"conv_{end}" for end in ENDS[1:])]


def random_weights(channels: int = 3, wide: int = 4, grow: int = 2) -> dict[str, Any]:
    chance = np.random.default_rng(7)
    weights: dict[str, Any] = {}
    for name in names(BLOCKS):
        place = int(name[-1]) if ".conv" in name else 0
        ins = channels if name == "conv_first" else wide + grow * max(0, place - 1)
        outs = 3 if name == "conv_last" else grow if 0 < place < 5 else wide
        weights[f"{name}.weight"] = chance.normal(0, 0.2, (outs, ins, 3, 3)).astype(np.float32)
        weights[f"{name}.bias"] = chance.normal(0, 0.2, outs).astype(np.float32)
    return weights


def old_names(weights: dict[str, Any]) -> dict[str, Any]:
    def old(key: str) -> str:
        name, _, what = key.rpartition(".")
        if name.startswith("conv_"):
            return f"{OLD[name.removeprefix('conv_')]}.{what}"
        _, block, dense, conv = name.split(".")
        return f"model.1.sub.{block}.{dense.upper()}.{conv}.0.{what}"

    return {old(key): value for key, value in weights.items()}


def network(folder: Path, weights: dict[str, Any]) -> Network:
    save_file(weights, folder / "one.safetensors")
    return Network(to_onnx(read_esrgan(folder / "one.safetensors")), 1)


def test_both_layouts_are_the_same_network(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((1, 3, 6, 8), np.float32)
    new = network(tmp_path, random_weights()).run(values)
    old = network(tmp_path, old_names(random_weights())).run(values)
    assert new.shape == (1, 3, 24, 32) and np.array_equal(new, old)


def test_the_packaged_weights_do_the_same_in_either_format(tmp_path: Path) -> None:
    found, missing = find_forms(None)
    name = "RealESRGAN_x4plus_anime_6B"
    if name in missing:
        pytest.skip(missing[name])
    layers = read_ncnn(*found[name].files)
    convolutions = [layer for layer in layers if layer.op == "conv"]
    weights: dict[str, Any] = {}
    for key, layer in zip(names(6), convolutions, strict=True):
        weights |= {f"{key}.weight": np.array(layer.weight), f"{key}.bias": np.array(layer.bias)}
    values = np.asarray(landscape(16), np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    assert np.allclose(network(tmp_path, weights).run(values), Network(to_onnx(layers), 1).run(values), atol=1e-4)


def test_x2_folds_its_input_and_takes_odd_sizes(tmp_path: Path) -> None:
    folded = network(tmp_path, random_weights(channels=12))
    enlarged = Upscaler(folded, 2).enlarge(landscape(33).crop((0, 0, 33, 7)), lambda: None)
    assert enlarged.size == (66, 14)
    torch = pytest.importorskip("torch")
    picker = read_esrgan(tmp_path / "one.safetensors")[1]
    values = np.random.default_rng(2).random((1, 3, 4, 6), np.float32)
    by_conv = torch.nn.functional.conv2d(torch.from_numpy(values), torch.from_numpy(np.array(picker.weight)), stride=2)
    assert np.array_equal(by_conv.numpy(), torch.nn.functional.pixel_unshuffle(torch.from_numpy(values), 2).numpy())


@pytest.mark.parametrize("lost", ["conv_first.weight", "body.1.rdb2.conv3.bias", "conv_hr.weight"])
def test_what_is_lacking_is_named(tmp_path: Path, lost: str) -> None:
    weights = random_weights()
    del weights[lost]
    with pytest.raises(EngineError, match=lost) as caught:
        network(tmp_path, weights)
    assert caught.value.reason == "bad_model"


def test_other_files_are_bad_models(tmp_path: Path) -> None:
    weights = random_weights()
    weights["conv_hr.weight"] = np.zeros((4, 4), np.float32)
    with pytest.raises(EngineError, match="conv_hr"):
        network(tmp_path, weights)
    (tmp_path / "two.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(EngineError, match=r"two\.safetensors"):
        read_esrgan(tmp_path / "two.safetensors")


def test_a_wrong_scale_is_found_before_the_first_picture(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="x2") as caught:
        Upscaler(network(tmp_path, random_weights()), 2).enlarge(Image.new("RGB", (4, 4)), lambda: None)
    assert caught.value.reason == "bad_model"
