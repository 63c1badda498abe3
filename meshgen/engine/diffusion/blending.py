"""Inpainting by any denoiser: after each step, what the mask keeps is the source again, at that step's noise. Child side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from meshgen.engine.diffusion.conditioning import Canvas
from meshgen.engine.diffusion.decoding import encode


class Blend:
    """For pipelines from picture to picture; ``generators``: one a canvas."""

    def __init__(self, pipe: Any, canvases: Sequence[Canvas], generators: Sequence[Any]) -> None:
        self._source = encode(pipe, [canvas.picture for canvas in canvases])
        self._noise = randn_tensor(
            self._source.shape, generator=list(generators), device=self._source.device, dtype=self._source.dtype
        )
        side = pipe.vae_scale_factor
        masks = [np.asarray(canvas.cells(side))[::side, ::side] > 0 for canvas in canvases]
        self._new = torch.from_numpy(np.stack(masks))[:, None].to(self._source)

    def __call__(self, pipe: Any, at: int, latents: Any) -> Any:
        """The latents to go on with after the call number ``at`` of the denoiser."""
        timesteps = pipe.scheduler.timesteps
        following = len(timesteps) - pipe.num_timesteps + at + 1
        kept = self._source
        if following < len(timesteps):
            kept = pipe.scheduler.add_noise(kept, self._noise, timesteps[following : following + 1])
        return (self._new * latents + (1 - self._new) * kept).to(latents.dtype)
