"""Small pictures of a job under way. Child side.

A small decoder just decodes. A large one takes longer than the steps between two previews, so a linear map from latent to colour
stands in for it; each finished picture teaches it anew, by least squares over its own latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image

SIDE = 128  # pixels, at most
QUALITY = 70
SMALL_DECODER = 20_000_000  # parameters


class Previewer:
    """For one pipeline whose latents are (pictures, channels, height, width)."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._vae: Any = getattr(pipe, "vae", None)
        self._decodes = self._vae is not None and _parameters(self._vae) < SMALL_DECODER
        self._map: Any = None

    def jpegs(self, latents: Any) -> list[bytes]:
        """One a picture, or none if that can't be done yet."""
        if latents is None or latents.ndim != 4:
            return []
        if self._decodes:
            return [_jpeg(image) for image in self._decoded(latents)]
        return [_jpeg(image) for image in self._sketched(latents)] if self._map is not None else []

    def learn(self, latents: Any, images: Sequence[Image.Image]) -> None:
        """From finished pictures and the latents that they were decoded from."""
        if self._decodes or latents is None or latents.ndim != 4 or len(latents) != len(images):
            return
        height, width = latents.shape[-2:]
        small = [image.convert("RGB").resize((width, height), Image.Resampling.BOX) for image in images]
        colours = torch.from_numpy(np.stack([np.asarray(image) for image in small])).reshape(-1, 3).float()
        self._map = torch.linalg.lstsq(_rows(latents), colours).solution

    def _decoded(self, latents: Any) -> list[Image.Image]:
        config = self._vae.config
        scaled = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
        with torch.no_grad():
            decoded = self._vae.decode(scaled.to(self._vae.dtype), return_dict=False)[0]
        return list(self._pipe.image_processor.postprocess(decoded, output_type="pil"))

    def _sketched(self, latents: Any) -> list[Image.Image]:
        count, _, height, width = latents.shape
        colours = (_rows(latents) @ self._map).clamp(0, 255).to(torch.uint8)
        return [Image.fromarray(one.numpy()) for one in colours.reshape(count, height, width, 3)]


def _parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _rows(latents: Any) -> Any:
    """One row for each place of the latents: its channels, and 1. The noise of early steps is scaled down to a picture's size."""
    flat = latents.detach().float().cpu()
    flat = flat / flat.std(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
    flat = flat.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    return torch.cat([flat, torch.ones(len(flat), 1)], dim=1)


def _jpeg(image: Image.Image) -> bytes:
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    file = BytesIO()
    small.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
