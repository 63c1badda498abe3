"""Checkpoints in one file are told by their heads alone: family, what they are for, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.engine.models.single_file import SingleFileError, read_single_file
from tests.engine.folders import SD1_SHAPES, tensor_file

UNET = "model.diffusion_model."
FIRST = f"{UNET}input_blocks.0.0.weight"


def checkpoint(path: Path, *without: str, **changes: Any) -> Path:
    shapes = {name: shape for name, shape in SD1_SHAPES.items() if not name.startswith(without or ("-",))}
    return tensor_file(path / "model.safetensors", shapes | changes.get("more", {}), changes.get("notes"))


def test_stable_diffusion_1(tmp_path: Path) -> None:
    found = read_single_file(checkpoint(tmp_path))
    assert (found.family, found.default_size) == ("sd1", 512)
    assert found.index["_class_name"] == "StableDiffusionPipeline" and found.vocabularies == {"tokenizer": "clip"}
    assert found.configs["unet"]["cross_attention_dim"] == 16 and found.configs["unet"]["block_out_channels"] == [8]
    assert found.configs["text_encoder"]["vocab_size"] == 6 and found.configs["scheduler"]["prediction_type"] == "epsilon"
    assert {"txt2img", "img2img", "inpainting", "lora"} <= set(found.features)


def test_nine_channels_paint_inside_masks_alone(tmp_path: Path) -> None:
    found = read_single_file(checkpoint(tmp_path, more={FIRST: (8, 9, 3, 3)}))
    assert found.index["_class_name"] == "StableDiffusionInpaintPipeline"
    assert "inpainting" in found.features and not {"txt2img", "img2img"} & set(found.features)


@pytest.mark.parametrize(
    ("changes", "prediction", "zero_snr"),
    [
        ({}, "epsilon", False),
        ({"notes": {"modelspec.prediction_type": "v"}}, "v_prediction", False),
        ({"more": {"v_pred": (1,)}}, "v_prediction", False),
        ({"more": {"v_pred": (1,), "ztsnr": (1,)}}, "v_prediction", True),
    ],
)
def test_what_it_predicts_is_said_by_the_file_itself(
    tmp_path: Path, changes: dict[str, Any], prediction: str, zero_snr: bool
) -> None:
    scheduler = read_single_file(checkpoint(tmp_path, **changes)).configs["scheduler"]
    assert (scheduler["prediction_type"], scheduler["rescale_betas_zero_snr"]) == (prediction, zero_snr)


@pytest.mark.parametrize(
    ("without", "more", "text"),
    [
        (("cond_stage",), {}, "its text encoders not in it"),
        (("first_stage",), {}, "its VAE not in it"),
        (("cond_stage", "first_stage"), {}, "its text encoders and its VAE not in it"),
        ((), {FIRST: (8, 8, 3, 3)}, "takes 8 channels"),
        ((), {f"{UNET}input_blocks.0.0.weight.scale_weight": (1,)}, "8-bit"),
        ((), {"edm_mean": (1,)}, "Playground"),
        ((UNET,), {}, "no checkpoint"),
        ((f"{UNET}middle",), {}, "cut-down"),
        ((f"{UNET}out",), {}, "lacks weights"),
        ((UNET, "cond", "first"), {"double_blocks.0.img_attn.qkv.weight": (9, 3)}, "family flux: its text encoders and its VAE"),
        ((UNET, "cond", "first"), {f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": (9, 3)}, "family sd3: its text"),
        ((), {"conditioner.embedders.0.model.text_projection": (4, 4)}, "refiner"),
        ((), {f"{UNET}double_stream_modulation_img.lin.weight": (4, 4)}, "Flux 2"),
    ],
)
def test_what_can_not_run_is_refused_with_its_reason(
    tmp_path: Path, without: tuple[str, ...], more: dict[str, tuple[int, ...]], text: str
) -> None:
    with pytest.raises(SingleFileError, match=text):
        read_single_file(checkpoint(tmp_path, *without, more=more))


@given(st.sets(st.sampled_from(sorted(SD1_SHAPES)), max_size=3), st.lists(st.integers(0, 9), max_size=4))
def test_any_shapes_are_understood_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changed: set[str], sides: list[int]
) -> None:
    path = checkpoint(tmp_path_factory.mktemp("any"), more=dict.fromkeys(changed, tuple(sides)))
    try:
        assert read_single_file(path).family
    except SingleFileError as error:
        assert str(path) in str(error)
