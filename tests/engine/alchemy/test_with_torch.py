"""Captions and interrogation by small random models from the owner's folder, in the real child."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trio

from meshgen.engine.alchemy.alchemist import open_alchemist
from meshgen.engine.alchemy.ncnn import read_ncnn
from meshgen.engine.alchemy.network import Network
from meshgen.engine.alchemy.onnx_file import to_onnx
from meshgen.engine.alchemy.word_lists import LISTS, words
from meshgen.engine.port import EngineError
from tests.engine.alchemy.drawn import landscape, png
from tests.engine.alchemy.tiny_models import ncnn_upscaler

pytestmark = pytest.mark.torch
pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.engine.alchemy.tiny_models import save_blip, save_clip

    folder = tmp_path_factory.mktemp("alchemy")
    save_blip(folder / "caption")
    save_clip(folder / "interrogation")
    return folder


async def test_a_caption_and_all_seven_lists(folder: Path) -> None:
    with trio.fail_after(240):
        async with open_alchemist(folder, threads=1) as made:
            caption, media = await made.run("caption", png(landscape(48)))
            again, _ = await made.run("caption", png(landscape(48)))
            found, _ = await made.run("interrogation", png(landscape(48)))
    assert media == "application/json" and caption == again
    assert list(json.loads(caption)) == ["caption"] and json.loads(caption)["caption"].split()
    lists = json.loads(found)["interrogation"]
    assert list(lists) == list(LISTS)
    for name, ranked in lists.items():
        shares = [entry["confidence"] for entry in ranked]
        assert len(ranked) == 5 and shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
        assert all(set(entry) == {"text", "confidence"} and entry["text"] in words(name) for entry in ranked)


def test_an_encoder_with_a_decoder_describes_too(tmp_path: Path) -> None:
    from meshgen.engine.alchemy.caption import Captioner
    from tests.engine.alchemy.tiny_models import save_vision_encoder_decoder

    described = Captioner(save_vision_encoder_decoder(tmp_path / "model"), "cpu").describe(landscape(48))
    assert list(described) == ["caption"] and described["caption"].split()


def test_torch_enlarges_as_onnxruntime_does(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from meshgen.engine.alchemy.torch_network import TorchNetwork

    param, weights = ncnn_upscaler(4)
    (tmp_path / "tiny.param").write_text(param)
    (tmp_path / "tiny.bin").write_bytes(weights)
    layers = read_ncnn(tmp_path / "tiny.param", tmp_path / "tiny.bin")
    values = np.random.default_rng(3).normal(0, 1, (1, 3, 9, 7)).astype(np.float32)
    one, other = Network(to_onnx(layers), 1).run(values), TorchNetwork(layers, "cpu").run(values)
    assert one.shape == other.shape == (1, 3, 36, 28) and np.allclose(one, other, atol=1e-5)
    with pytest.raises(EngineError) as caught:
        TorchNetwork(layers, "cuda:99")
    assert caught.value.reason == "bad_model"
    with pytest.raises(EngineError) as caught:
        TorchNetwork(layers, "cpu").run(values[:, :2])
    assert caught.value.reason == "bad_model"


def test_a_spoilt_model_is_named(tmp_path: Path) -> None:
    from meshgen.engine.alchemy.workbench import Workbench
    from tests.engine.alchemy.tiny_models import save_clip

    folder = save_clip(tmp_path / "interrogation")
    (folder / "model.safetensors").write_bytes(b"spoilt")
    request = {"name": "interrogation", "kind": "interrogation", "files": [str(folder / "config.json")], "enlarge": 1}
    with pytest.raises(EngineError, match="interrogation/") as caught:
        Workbench(1, "cpu").work({**request, "picture": png(landscape(32))}, lambda: None)
    assert caught.value.reason == "bad_model"
