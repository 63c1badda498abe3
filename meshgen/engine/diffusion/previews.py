"""Small pictures of a job under way. Child side.

A small decoder just decodes. A large one takes longer than the steps between two previews, so a linear map from latent to colour
stands in for it; a first look through the decoder at few latents, and then each finished picture, teach it by least squares.
"""

from __future__ import annotations

import time
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
LOOK = 16
"""Latents of a side that a large decoder is given once."""
DECODING = 2.0
"""Steps that decoding takes at most, of as many latents as one step denoises: a guess until it was measured."""

Size = tuple[int, int]
"""(width, height) in pixels."""


class Previewer:
    """For one pipeline of a family that is known here; others show nothing."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._vae: Any = getattr(pipe, "vae", None)
        self._known = self._vae is not None and family_of(pipe) != "other"
        self._decodes = self._known and _parameters(self._vae) < SMALL_DECODER
        self._map: Any = None
        self._place_s: float | None = None  # for a latent, as measured the last time
        self.watched_s = 0.0
        """Of denoising since the last ones, in all jobs for which somebody wants some."""

    def cost_s(self, count: int, size: Size, step_s: float) -> float:
        """What previews of so many pictures will take; guessed from ``step_s``, a step of denoising them, until measured."""
        if not self._known:
            return 0.0
        if self._place_s is not None:
            return self._place_s * self._places(count, size)
        decoded = self._places(count, size) if self._decodes else LOOK * LOOK
        return float(DECODING * step_s * decoded / (count * self._area(size)))

    def jpegs(self, latents: Any, size: Size) -> list[bytes]:
        """One a picture of ``size``, or none if that can't be done."""
        if not self._known:
            return []
        _finish_steps(latents)
        latents = unpacked(self._pipe, latents, size)
        if self._map is None and not self._decodes:
            look = _few(latents[:1], LOOK)
            self._learn(look, decode(self._pipe, look))
        started = time.perf_counter()
        images = decode(self._pipe, _few(latents, self._side)) if self._decodes else self._sketched(latents)
        jpegs = [_jpeg(image) for image in images]
        self._place_s = (time.perf_counter() - started) / self._places(len(jpegs), size)
        self.watched_s = 0.0
        return jpegs

    def learn(self, latents: Any, images: Sequence[Image.Image]) -> None:
        """From finished pictures and the latents, (pictures, channels, height, width), that they were decoded from."""
        if self._known and not self._decodes:
            self._learn(latents, images)

    def _learn(self, latents: Any, images: Sequence[Image.Image]) -> None:
        height, width = latents.shape[-2:]
        small = [image.convert("RGB").resize((width, height), Image.Resampling.BOX) for image in images]
        colours = torch.from_numpy(np.stack([np.asarray(image) for image in small])).reshape(-1, 3).float()
        self._map = torch.linalg.lstsq(_rows(latents), colours).solution

    @property
    def _side(self) -> int:
        """Latents of a side that a small decoder is given."""
        return int(SIDE // self._pipe.vae_scale_factor * 2)

    def _area(self, size: Size) -> float:
        """Latents of a picture."""
        return size[0] * size[1] / float(self._pipe.vae_scale_factor**2)

    def _places(self, count: int, size: Size) -> float:
        """Latents that previews of so many pictures look at."""
        return count * (min(self._area(size), self._side**2) if self._decodes else self._area(size))

    def _sketched(self, latents: Any) -> list[Image.Image]:
        count, _, height, width = latents.shape
        colours = (_rows(latents) @ self._map).clamp(0, 255).to(torch.uint8)
        return [Image.fromarray(one.numpy()) for one in colours.reshape(count, height, width, 3)]


def _parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _finish_steps(latents: Any) -> None:
    """A GPU may be behind: what it has yet to do is no preview's cost."""
    if latents.is_cuda:
        torch.cuda.synchronize(latents.device)
    elif latents.is_mps:
        torch.mps.synchronize()


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
