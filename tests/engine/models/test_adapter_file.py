"""Adapters are told apart by their tensors; what is none is named for what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshgen.engine.models.adapter_file import AdapterFileError, read_adapter
from tests.engine.folders import lora_file, tensor_file

TO_K = "transformer_blocks.0.attn2.to_k"


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ({f"unet.down_blocks.1.attentions.0.{TO_K}.lora_A.weight": (4, 768)}, "sd1"),
        ({f"unet.down_blocks.1.attentions.0.{TO_K}.lora.down.weight": (4, 2048)}, "sdxl"),
        ({"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 2048)}, "sdxl"),
        ({"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 1024)}, "other"),
        ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1280)}, "sdxl"),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (4, 3072)}, "flux"),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 3072)}, "flux"),
        ({"double_blocks.0.processor.qkv_lora1.down.weight": (4, 3072)}, "flux"),
        ({"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (4, 1536)}, "sd3"),
        ({"lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight": (4, 1536)}, "sd3"),
        ({"lora_unet_conv_in.lora_down.weight": (4, 4, 3, 3)}, ""),
    ],
)
def test_the_family_of_a_lora(tmp_path: Path, shapes: dict[str, tuple[int, ...]], family: str) -> None:
    found = read_adapter(tensor_file(tmp_path / "x.safetensors", shapes))
    assert (found.kind, found.family) == ("lora", family)


def test_notes_say_what_shapes_do_not(tmp_path: Path) -> None:
    shapes = {"lora_unet_conv_in.lora_down.weight": (4, 4, 3, 3)}
    path = tensor_file(tmp_path / "x.safetensors", shapes, {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"})
    assert read_adapter(path).family == "sdxl"
    lying = lora_file(tmp_path / "y.safetensors", 768, {"ss_base_model_version": "sdxl_base_v1-0"})
    assert read_adapter(lying).family == "sd1"


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ({"emb_params": (2, 768)}, "sd1"),
        ({"emb_params": (2, 1024)}, "other"),
        ({"clip_l": (8, 768), "clip_g": (8, 1280)}, "sdxl"),
        ({"<cat-toy>": (768,)}, "sd1"),
        ({"string_to_param.*": (2, 768)}, "sd1"),
    ],
)
def test_textual_inversions(tmp_path: Path, shapes: dict[str, tuple[int, ...]], family: str) -> None:
    found = read_adapter(tensor_file(tmp_path / "x.safetensors", shapes))
    assert (found.kind, found.family) == ("inversion", family)


@pytest.mark.parametrize(
    ("name", "control"),
    [
        ("control_v11p_sd15_canny", "canny"),
        ("control_v11f1p_sd15_depth_fp16", "depth"),
        ("diffusers_xl_zoe-depth", "depth"),
        ("control_v11p_sd15_softedge", "hed"),
        ("control_v11p_sd15_mlsd", "hough"),
        ("thibaud_xl_openpose", "openpose"),
        ("control_v11p_sd15_normalbae", "normal"),
        ("control_v11p_sd15_seg", "seg"),
    ],
)
def test_a_controlnet_is_named_by_what_it_follows(tmp_path: Path, name: str, control: str) -> None:
    shapes = {f"control_model.input_blocks.1.1.{TO_K}.weight": (8, 768), "control_model.zero_convs.0.0.weight": (1,)}
    found = read_adapter(tensor_file(tmp_path / f"{name}.safetensors", shapes))
    assert (found.kind, found.control, found.family) == ("controlnet", control, "sd1")


def test_a_controlnet_without_a_telling_name_needs_its_type(tmp_path: Path) -> None:
    path = tensor_file(tmp_path / "x.safetensors", {"controlnet_cond_embedding.conv_in.weight": (1,), "add_embedding.x": (1,)})
    with pytest.raises(AdapterFileError, match="--type"):
        read_adapter(path)
    assert read_adapter(path, control="Canny").control == "canny" and read_adapter(path, control="canny").family == "sdxl"
    with pytest.raises(AdapterFileError, match="no control type"):
        read_adapter(path, control="two words")


def test_a_controlnets_folder(tmp_path: Path) -> None:
    folder = tmp_path / "sd-controlnet-canny"
    tensor_file(folder / "diffusion_pytorch_model.safetensors", {f"down_blocks.0.{TO_K}.weight": (8, 768)})
    (folder / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel"}))
    found = read_adapter(folder)
    assert (found.control, found.family) == ("canny", "sd1")
    assert found.files == ("config.json", "diffusion_pytorch_model.safetensors")
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(AdapterFileError, match="download may be incomplete"):
        read_adapter(folder)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ({"lora_unet_x.hada_w1_a": (4, 4)}, "LoHa, LoKr"),
        ({"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": (4, 64)}, "LoRA for a text model"),
        ({"lora_controlnet": (1,), "x.lora_down.weight": (1, 1)}, "Control-LoRA"),
        ({"controlnet_cond_embedding.a": (1,), "control_add_embedding.linear_1.weight": (1,)}, "union"),
        ({"body.0.rdb1.conv1.weight": (1,), "conv_first.weight": (1,)}, "an upscaler"),
        ({"model.1.sub.0.RDB1.conv1.0.weight": (1,), "model.0.weight": (1,)}, "an upscaler"),
        ({"image_proj.proj.weight": (1,), "ip_adapter.1.to_k_ip.weight": (1,)}, "IP-Adapter"),
        ({"decoder.conv_in.weight": (1,), "encoder.conv_in.weight": (1,)}, "a VAE alone"),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (1,), "b": (1,)}, "a text encoder alone"),
        ({"down_blocks.0.resnets.0.conv1.weight": (1,), "b": (1,)}, "one part of a diffusers model"),
        ({"a": (1,), "b": (2,)}, "2 tensors, the first .a. .1., of no kind that is known here"),
    ],
)
def test_what_is_no_adapter_is_named(tmp_path: Path, shapes: dict[str, tuple[int, ...]], text: str) -> None:
    with pytest.raises(AdapterFileError, match=text):
        read_adapter(tensor_file(tmp_path / "x.safetensors", shapes))


@pytest.mark.parametrize("shape", [(1000, 768), (1,), (2, 8), (), (3, 4, 768, 1)])
def test_one_tensor_alone_is_an_inversion_only_if_it_looks_like_one(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert read_adapter(tensor_file(tmp_path / "x.safetensors", {"<cat>": (2, 768)})).kind == "inversion"
    assert read_adapter(tensor_file(tmp_path / "x.safetensors", {"emb_params": (2, 8)})).kind == "inversion"
    with pytest.raises(AdapterFileError, match=r"one tensor .we ird. .*what is taken are models"):
        read_adapter(tensor_file(tmp_path / "y.safetensors", {"we\x1b ird": shape}))
