"""Model folders for tests: the stock layout with weights of a few bytes, written without torch."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import Any

SD_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.35.0",
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
UNET_CONFIG = {"sample_size": 64, "cross_attention_dim": 768}
VAE_CONFIG = {"block_out_channels": [128, 256, 512, 512]}


def safetensors(values: bytes = b"\0\0\0\0") -> bytes:
    header = json.dumps({"weight": {"dtype": "U8", "shape": [len(values)], "data_offsets": [0, len(values)]}}).encode()
    return struct.pack("<Q", len(header)) + header + values


def model_folder(path: Path, index: dict[str, Any] | None = None, unet: dict[str, Any] | None = None) -> Path:
    """A folder that reads like Stable Diffusion 1.x unless told otherwise."""
    path.mkdir(parents=True)
    index = SD_INDEX if index is None else index
    (path / "model_index.json").write_text(json.dumps(index))
    for name in ("scheduler", "text_encoder", "tokenizer", "unet", "vae"):
        (path / name).mkdir()
    (path / "scheduler/scheduler_config.json").write_text("{}")
    (path / "tokenizer/vocab.json").write_text("{}")
    (path / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    for name, config, weights in (
        ("text_encoder", {}, "model"),
        ("unet", UNET_CONFIG if unet is None else unet, "diffusion_pytorch_model"),
        ("vae", VAE_CONFIG, "diffusion_pytorch_model"),
    ):
        (path / name / "config.json").write_text(json.dumps(config))
        (path / name / f"{weights}.safetensors").write_bytes(safetensors())
    return path


def tensor_file(path: Path, shapes: dict[str, tuple[int, ...]], notes: dict[str, str] | None = None) -> Path:
    """A safetensors file with tensors of these shapes, one byte a number, as a hole in the file."""
    rows: dict[str, Any] = {"__metadata__": notes} if notes else {}
    end = 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        rows[name] = {"dtype": "U8", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    header = json.dumps(rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as opened:
        opened.write(struct.pack("<Q", len(header)) + header)
        opened.truncate(8 + len(header) + end)
    return path


_UNET = "model.diffusion_model."
_CLIP = "cond_stage_model.transformer.text_model."
SD1_SHAPES: dict[str, tuple[int, ...]] = {
    f"{_UNET}input_blocks.0.0.weight": (8, 4, 3, 3),
    f"{_UNET}input_blocks.1.0.out_layers.3.weight": (8, 8, 3, 3),
    f"{_UNET}input_blocks.1.1.proj_in.weight": (8, 8, 1, 1),
    f"{_UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, 16),
    f"{_UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight": (8, 16),
    f"{_UNET}out.2.weight": (4, 8, 3, 3),
    f"{_CLIP}embeddings.token_embedding.weight": (6, 16),
    f"{_CLIP}embeddings.position_embedding.weight": (77, 16),
    f"{_CLIP}encoder.layers.0.mlp.fc1.weight": (32, 16),
    "first_stage_model.encoder.down.0.block.0.conv2.weight": (8, 8, 3, 3),
    "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
}
"""The tensors of a small Stable Diffusion 1 that its kind is told by."""
SD1_WORDS = ["a", "b", "a</w>", "b</w>", "<|startoftext|>", "<|endoftext|>"]


def clip_vocabulary(folder: Path, words: list[str] | None = None) -> Path:
    """A tokenizer's folder, for SD1_SHAPES unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    words = SD1_WORDS if words is None else words
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def lora_file(path: Path, width: int = 768, notes: dict[str, str] | None = None) -> Path:
    block = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    return tensor_file(path, {f"{block}.lora_down.weight": (4, width), f"{block}.lora_up.weight": (32, 4)}, notes)


def hub_model(cache: Path, name: str, content: Path) -> Path:
    """``content`` as a Hugging Face cache keeps it: snapshots of links into blobs. Returns the snapshot."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / "0123abc"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    for number, file in enumerate(sorted(path for path in content.rglob("*") if path.is_file())):
        blob, link = repository / "blobs" / f"{number:040}", snapshot / file.relative_to(content)
        blob.write_bytes(file.read_bytes())
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot
