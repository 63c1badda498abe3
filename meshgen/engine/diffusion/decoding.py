"""Latents to pictures and back, for the families that are known here. Child side."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from PIL import Image

from meshgen.engine.diffusion.kinds import family_of

_UPCAST = threading.RLock()
DECODED_AT_ONCE = 1024 * 1024
"""Pixels: beyond, more at once need more memory and gain nothing."""


def unpacked(pipe: Any, latents: Any, size: tuple[int, int]) -> Any:
    """(pictures, channels, height, width), also from Flux's rows of patches. ``size``: (width, height) in pixels."""
    if latents.ndim == 4 or family_of(pipe) != "flux":
        return latents
    return pipe._unpack_latents(latents, size[1], size[0], pipe.vae_scale_factor)


def decode(pipe: Any, latents: Any) -> list[Image.Image]:
    """``latents``: (pictures, channels, height, width), as the denoiser leaves them."""
    if not upcasts(pipe):
        return _decoded(pipe, latents)
    with _UPCAST:
        pipe.vae.to(dtype=torch.float32)  # its inner values are beyond float16
        try:
            return _decoded(pipe, latents)
        finally:
            pipe.vae.to(dtype=torch.float16)


def upcasts(pipe: Any) -> bool:
    """Its decoder, and its encoder within diffusers' pipelines, are turned into float32 and back for each use."""
    return bool(family_of(pipe) == "sdxl" and pipe.vae.dtype == torch.float16 and pipe.vae.config.force_upcast)


def alone(pipe: Any) -> AbstractContextManager[Any]:
    """Within, no other thread decodes with a decoder that is turned back and forth."""
    return _UPCAST if upcasts(pipe) else nullcontext()


def encode(pipe: Any, images: Sequence[Image.Image]) -> Any:
    """The inverse, at the middle of what the encoder thinks likely."""
    vae = pipe.vae
    pixels = pipe.image_processor.preprocess(list(images)).to(device=pipe._execution_device, dtype=vae.dtype)
    with torch.no_grad():
        found = vae.encode(pixels)
    latents = found.latents if hasattr(found, "latents") else found.latent_dist.mode()
    return (latents - (getattr(vae.config, "shift_factor", None) or 0.0)) * vae.config.scaling_factor


def _decoded(pipe: Any, latents: Any) -> list[Image.Image]:
    vae, images = pipe.vae, []
    pixels = latents.shape[-1] * latents.shape[-2] * pipe.vae_scale_factor**2
    for rows in _unscaled(vae, latents).to(vae.dtype).split(max(1, DECODED_AT_ONCE // pixels)):
        with torch.no_grad():
            decoded = vae.decode(rows, return_dict=False)[0]
        images += pipe.image_processor.postprocess(decoded, output_type="pil")
    return images


@contextmanager
def certain(vae: Any) -> Iterator[None]:
    """Within, the encoder gives the middle of what it thinks likely and draws no lots.

    For pipelines that draw them from torch's common generator, so that pictures would not follow from their seeds.
    """
    encode = vae.encode

    def without_lots(*arguments: Any, **options: Any) -> Any:
        found = encode(*arguments, **options)
        found.latent_dist.std = torch.zeros_like(found.latent_dist.std)
        return found

    vae.encode = without_lots
    try:
        yield
    finally:
        del vae.encode


def _unscaled(vae: Any, latents: Any) -> Any:
    mean, deviation = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    scaled = latents / vae.config.scaling_factor
    if mean is None or deviation is None:
        return scaled + (getattr(vae.config, "shift_factor", None) or 0.0)
    shape = (1, -1, 1, 1)
    return scaled * torch.tensor(deviation).view(shape).to(scaled) + torch.tensor(mean).view(shape).to(scaled)
