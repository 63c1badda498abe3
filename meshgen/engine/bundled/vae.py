"""The bundled model's autoencoder: an AutoencoderTiny that makes a 64x64 picture 16x16 latents of unit scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny

from meshgen.engine.bundled.draw import Scene, held_out, random_scene, render
from meshgen.engine.bundled.fit import Run, autocast, say

__all__ = ["LATENT_CHANNELS", "build_vae", "encode_pictures", "polish_decoder", "to_tensor", "train_vae", "training_scenes"]

LATENT_CHANNELS = 6
_WIDTH = 48


def build_vae() -> Any:
    return AutoencoderTiny(
        encoder_block_out_channels=(_WIDTH,) * 3,
        decoder_block_out_channels=(_WIDTH,) * 3,
        num_encoder_blocks=(0, 1, 2),
        num_decoder_blocks=(2, 1, 1),
        latent_channels=LATENT_CHANNELS,
    )


def training_scenes(count: int, rng: np.random.Generator, pairs: float = 0.5) -> list[Scene]:
    """Random scenes without the held-out combinations."""
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = random_scene(rng, pairs)
        if not held_out(scene):
            scenes.append(scene)
    return scenes


def to_tensor(pictures: np.ndarray[Any, Any], device: str) -> torch.Tensor:
    """Pixels (n, h, w, 3) as the autoencoder wants them: (n, 3, h, w) in -1..1."""
    tensor = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tensor.contiguous(memory_format=torch.channels_last)


def train_vae(folder: Path, minutes: float, device: str, seed: int = 1, batch: int = 16) -> None:
    """Trains and saves the autoencoder."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    vae = build_vae().to(device, memory_format=torch.channels_last)
    parameters = list(vae.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    run = Run(minutes, 2e-3)
    while run.tick():
        picture = to_tensor(render(training_scenes(batch, rng), rng), device)
        with autocast(device):
            latent = vae.encoder(picture)
            # A little noise makes the decoder forgive what the denoiser gets slightly wrong.
            spread = 0.15 * torch.rand(batch, 1, 1, 1, device=device)
            back = vae.decoder(latent + spread * torch.randn_like(latent))
        error = back.float() - picture
        flat = latent.float().permute(1, 0, 2, 3).flatten(1)
        scale = flat.mean(1).square().mean() + (flat.std(1) - 1).square().mean()
        far = torch.relu(flat.abs() - 3).square().mean()
        loss = error.square().mean() + 0.1 * error.abs().mean() + 0.02 * scale + 0.02 * far
        run.step(optimizer, loss, parameters)
        if run.steps % 100 == 0:
            say(f"vae step {run.steps} loss {loss.item():.4f} psnr {quality(vae, rng, device):.1f} dB")
            vae.save_pretrained(folder)
    vae.save_pretrained(folder)


def polish_decoder(folder: Path, minutes: float, device: str, seed: int = 11, batch: int = 16) -> None:
    """Trains the decoder alone and saves it; the latents stay as they are, so a denoiser may be training on them."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    vae = AutoencoderTiny.from_pretrained(folder).to(device, memory_format=torch.channels_last)
    parameters = list(vae.decoder.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    run = Run(minutes, 1e-3)
    while run.tick():
        picture = to_tensor(render(training_scenes(batch, rng), rng), device)
        with autocast(device):
            with torch.no_grad():
                latent = vae.encoder(picture)
            spread = 0.15 * torch.rand(batch, 1, 1, 1, device=device)
            back = vae.decoder(latent + spread * torch.randn_like(latent))
        error = back.float() - picture
        loss = error.square().mean() + 0.1 * error.abs().mean()
        run.step(optimizer, loss, parameters)
        if run.steps % 100 == 0:
            say(f"decoder step {run.steps} loss {loss.item():.4f} psnr {quality(vae, rng, device):.1f} dB")
    vae.save_pretrained(folder)


def quality(vae: Any, rng: np.random.Generator, device: str, count: int = 48) -> float:
    """The peak signal-to-noise ratio of freshly drawn pictures after encoding and decoding, in dB."""
    picture = to_tensor(render(training_scenes(count, rng), rng), device)
    with torch.no_grad(), autocast(device):
        back = vae.decoder(vae.encoder(picture))
    error = (back.float().clamp(-1, 1) - picture).square().mean().item() / 4
    return float(-10 * np.log10(max(error, 1e-9)))


def encode_pictures(vae: Any, pictures: np.ndarray[Any, Any], device: str, batch: int = 128) -> torch.Tensor:
    """Latents of the pictures as fp16 on the CPU."""
    parts = []
    for start in range(0, len(pictures), batch):
        with torch.no_grad(), autocast(device):
            parts.append(vae.encoder(to_tensor(pictures[start : start + batch], device)).half().cpu())
    return torch.cat(parts)
