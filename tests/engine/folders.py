"""Model folders for tests: the stock layout with weights of a few bytes, written without torch."""

from __future__ import annotations

import json
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
