"""Small pictures of a job under way. Child side.

A small decoder just decodes. A large one takes longer than the steps between two previews, so a linear map from latent to colour
stands in for it; a first look through the decoder at few latents, and then each finished picture, teach it by least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image

from meshgen.engine.diffusion.decoding import decode, unpacked
from meshgen.engine.diffusion.kinds import family_of

SIDE = 128  # pixels, at most
QUALITY = 70
SMALL_DECODER = 20_000_000  # parameters
LOOK = 32
"""Latents of a side that a large decoder is given once."""


class Previewer:
    """For one pipeline of a family that is known here; others show nothing."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._vae: Any = getattr(pipe, "vae", None)
        self._known = self._vae is not None and family_of(pipe) != "other"
        self._decodes = self._known and _parameters(self._vae) < SMALL_DECODER
        self._map: Any = None

    def jpegs(self, latents: Any, size: tuple[int, int]) -> list[bytes]:
        """One a picture of ``size``, (width, height), or none if that can't be done."""
        if not self._known:
            return []
        latents = unpacked(self._pipe, latents, size)
        if self._decodes:
            return [_jpeg(image) for image in decode(self._pipe, _few(latents, SIDE // self._pipe.vae_scale_factor * 2))]
        if self._map is None:
            look = _few(latents[:1], LOOK)
            self._learn(look, decode(self._pipe, look))
        return [_jpeg(image) for image in self._sketched(latents)]

    def learn(self, latents: Any, images: Sequence[Image.Image]) -> None:
        """From finished pictures and the latents, (pictures, channels, height, width), that they were decoded from."""
        if self._known and not self._decodes:
            self._learn(latents, images)

    def _learn(self, latents: Any, images: Sequence[Image.Image]) -> None:
        height, width = latents.shape[-2:]
        small = [image.convert("RGB").resize((width, height), Image.Resampling.BOX) for image in images]
        colours = torch.from_numpy(np.stack([np.asarray(image) for image in small])).reshape(-1, 3).float()
        self._map = torch.linalg.lstsq(_rows(latents), colours).solution

    def _sketched(self, latents: Any) -> list[Image.Image]:
        count, _, height, width = latents.shape
        colours = (_rows(latents) @ self._map).clamp(0, 255).to(torch.uint8)
        return [Image.fromarray(one.numpy()) for one in colours.reshape(count, height, width, 3)]


def _parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _few(latents: Any, side: int) -> Any:
    """The latents of a picture whose sides are ``side`` latents at most."""
    height, width = latents.shape[-2:]
    share = side / max(height, width)
    if share >= 1:
        return latents
    return torch.nn.functional.interpolate(latents, size=(max(1, int(height * share)), max(1, int(width * share))), mode="area")


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
