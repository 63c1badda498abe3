"""Folders that are models, next to folders that are not, each with the reason that its owner is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.engine.models.model_folder import ModelFolderError, read_model_folder
from tests.engine.folders import SD_INDEX, model_folder, safetensors

UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def test_a_good_folder_is_understood(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: creativeml-openrail-m\n---\n# Model\n")
    (folder / "preview.jpg").write_bytes(b"not part of the model")
    found = read_model_folder(folder)
    assert (found.pipeline, found.family, found.default_size, found.variant) == ("StableDiffusionPipeline", "sd1", 512, "")
    assert found.licence == "creativeml-openrail-m" and {"txt2img", "negative_prompt", "lora"} <= set(found.features)
    assert found.files == tuple(sorted(found.files)) and UNET_WEIGHTS in found.files
    assert not {"README.md", "preview.jpg"} & set(found.files)


@pytest.mark.parametrize(
    ("pipeline", "unet", "family", "size"),
    [
        ("StableDiffusionPipeline", {"sample_size": 96, "cross_attention_dim": 1024}, "other", 768),
        ("StableDiffusionPipeline", {"sample_size": [64, 64], "cross_attention_dim": 768}, "sd1", 512),
        ("StableDiffusionPipeline", {"cross_attention_dim": 768}, "sd1", 512),
        ("StableDiffusionXLPipeline", {"sample_size": 128}, "sdxl", 1024),
        ("StableDiffusionXLPipeline", {}, "sdxl", 1024),
        ("StableDiffusion3Pipeline", {"sample_size": 128}, "sd3", 1024),
        ("FluxPipeline", {}, "flux", 1024),
        ("KandinskyPipeline", {"sample_size": 8}, "other", 64),
        ("StableDiffusionPipeline", {"sample_size": 10**9}, "other", 8192),
    ],
)
def test_family_and_size_follow_from_class_and_config(
    tmp_path: Path, pipeline: str, unet: dict[str, Any], family: str, size: int
) -> None:
    found = read_model_folder(model_folder(tmp_path / "model", {**SD_INDEX, "_class_name": pipeline}, unet))
    assert (found.family, found.default_size) == (family, size)


def test_only_a_variant_is_there(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / UNET_WEIGHTS).rename(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    found = read_model_folder(folder)
    assert found.variant == "fp16"
    assert {"unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.safetensors"} <= set(found.files)


def test_a_variant_beside_the_plain_weights_is_left_out(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    plain = read_model_folder(folder)
    (folder / "unet/diffusion_pytorch_model.fp16.safetensors").write_bytes(safetensors(b"half"))
    assert read_model_folder(folder) == plain


def test_weights_in_shards_are_all_taken(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / UNET_WEIGHTS).unlink()
    for part in (1, 2):
        (folder / f"unet/diffusion_pytorch_model-0000{part}-of-00002.safetensors").write_bytes(safetensors())
    (folder / "unet/diffusion_pytorch_model.safetensors.index.json").write_text("{}")
    assert sum("-of-00002" in file for file in read_model_folder(folder).files) == 2


def test_pickle_needs_the_owners_word(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / UNET_WEIGHTS).unlink()
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelFolderError, match="pickle"):
        read_model_folder(folder)
    assert "unet/diffusion_pytorch_model.bin" in read_model_folder(folder, allow_pickle=True).files
    (folder / UNET_WEIGHTS).write_bytes(safetensors())
    assert UNET_WEIGHTS in read_model_folder(folder).files
    assert "unet/diffusion_pytorch_model.bin" not in read_model_folder(folder, allow_pickle=True).files


def index_as(value: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "model_index.json").write_text(value if isinstance(value, str) else json.dumps(value))


def write(file: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "no model_index.json"),
        (index_as("{"), "not JSON"),
        (index_as([1]), "not a JSON object"),
        (index_as({}), "no pipeline class"),
        (index_as({**SD_INDEX, "_class_name": "os.system"}), "no pipeline class"),
        (index_as({**SD_INDEX, "_class_name": ["pipeline", "MyPipeline"]}), "own code"),
        (index_as({**SD_INDEX, "unet": ["unet_code", "MyUNet"]}), "neither diffusers nor transformers"),
        (index_as({**SD_INDEX, "unet": ["diffusers"]}), "neither diffusers nor transformers"),
        (index_as({**SD_INDEX, "../vae": ["diffusers", "AutoencoderKL"]}), "strange name"),
        (index_as({**SD_INDEX, "image_encoder": ["transformers", "CLIPVisionModel"]}), "image_encoder is missing"),
        (write("pipeline.py", b"print('run me')"), "own code"),
        (write("unet/unet_code.py", b"print('run me')"), "own code"),
        (lambda folder: (folder / UNET_WEIGHTS).unlink(), "no weights"),
        (write(UNET_WEIGHTS, b""), "not a safetensors file"),
        (write(UNET_WEIGHTS, b"garbage" * 100), "not a safetensors file"),
        (write(UNET_WEIGHTS, b"\xff" * 64), "not a safetensors file"),
        (write(UNET_WEIGHTS, b"\x02\0\0\0\0\0\0\0[]"), "not a safetensors file"),
        (write(UNET_WEIGHTS, safetensors(b"12345678")[:-1]), "download may be incomplete"),
        (write(UNET_WEIGHTS, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), "Git LFS pointer"),
        (write("unet/config.json", b"\xff\xfe"), "not JSON"),
    ],
)
def test_bad_folders_are_refused_with_their_reason(tmp_path: Path, damage: Callable[[Path], object], text: str) -> None:
    folder = model_folder(tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelFolderError, match=text):
        read_model_folder(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="is not a folder"):
        read_model_folder(tmp_path / "nothing")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["_class_name", "unet", "vae", "tokenizer", "scheduler", "x"]), JSON), JSON)
def test_any_json_is_either_understood_or_refused(
    tmp_path_factory: pytest.TempPathFactory, index: dict[str, Any], config: object
) -> None:
    folder = model_folder(tmp_path_factory.mktemp("any") / "model", {**SD_INDEX, **index})
    (folder / "unet/config.json").write_text(json.dumps(config))
    try:
        found = read_model_folder(folder)
    except ModelFolderError:
        return
    assert 8 <= found.default_size <= 8192 and found.files
