"""Puts the trained parts together in the stock Stable Diffusion folder layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from transformers import CLIPTextModel, CLIPTokenizer

from meshgen.engine.bundled.denoiser import averaged_unet, build_scheduler

__all__ = ["export", "load_parts"]


def load_parts(work: Path) -> tuple[Any, Any, Any]:
    """The autoencoder, text encoder and tokenizer of a training folder."""
    return (
        AutoencoderTiny.from_pretrained(work / "vae").eval(),
        CLIPTextModel.from_pretrained(work / "text" / "text_encoder").eval(),
        CLIPTokenizer.from_pretrained(work / "text" / "tokenizer"),
    )


def export(work: Path, folder: Path) -> None:
    """Writes the model of a training folder; a plain `DiffusionPipeline.from_pretrained(folder)` loads it."""
    vae, encoder, tokenizer = load_parts(work)
    pipeline = StableDiffusionPipeline(
        vae=vae.to(torch.float16),
        unet=averaged_unet(work / "unet.pt").to(torch.float16),
        tokenizer=tokenizer,
        # Kept in fp32: without a wish, transformers loads a text encoder in the precision it was saved in.
        text_encoder=encoder.float(),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    _write_classic_tokenizer(folder / "tokenizer")
    for config in folder.rglob("*.json"):
        _tidy(config)
    for weights in folder.rglob("*.safetensors"):
        weights.chmod(0o644)


def _write_classic_tokenizer(folder: Path) -> None:
    """Adds the two files that the older tokenizers read, and every stock folder has."""
    bpe = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(bpe["vocab"], ensure_ascii=False) + "\n")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in bpe["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")


def _tidy(path: Path) -> None:
    """Drops what the libraries note about this machine, and a key that AutoencoderTiny writes but won't read."""
    config = json.loads(path.read_text())
    if not isinstance(config, dict):
        return
    dropped = [key for key in ("_name_or_path", "name_or_path", "is_local", "local_files_only") if key in config]
    if config.get("_class_name") == "AutoencoderTiny":
        dropped += [key for key in ("block_out_channels",) if key in config]
    if dropped:
        for key in dropped:
            del config[key]
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
