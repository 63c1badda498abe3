"""Which of diffusers' pipelines draws which kind of work, all over the same modules. Child side."""

from __future__ import annotations

import re
from typing import Any

from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image

from meshgen.engine.diffusion.conditioning import Canvas
from meshgen.engine.port import EngineError

_AUTO = {
    "txt2img": AutoPipelineForText2Image,
    "img2img": AutoPipelineForImage2Image,
    "inpainting": AutoPipelineForInpainting,
}
_SD_CHANNELS = (4, 9)
"""Of denoisers that Stable Diffusion's own inpainting knows: latents alone, or latents, mask and what is left."""


def family_of(pipe: Any) -> str:
    """sd1 (and 2), sdxl, sd3, flux, or other."""
    name = type(pipe).__name__
    for start, family in (
        ("StableDiffusionXL", "sdxl"),
        ("StableDiffusion3", "sd3"),
        ("StableDiffusion", "sd1"),
        ("Flux2", "other"),
        ("FluxKontext", "other"),
        ("Flux", "flux"),
    ):
        if name.startswith(start):
            return family
    return "other"


def unit_of(pipe: Any) -> int:
    """Pixels: sides must be multiples of it."""
    scale = int(getattr(pipe, "vae_scale_factor", 8))
    if family_of(pipe) == "flux":
        return 2 * scale
    return scale * int(getattr(pipe, "patch_size", 1)) if family_of(pipe) == "sd3" else scale


def kind_of(canvas: Canvas | None) -> str:
    if canvas is None:
        return "txt2img"
    return "img2img" if canvas.mask is None else "inpainting"


def blends(pipe: Any, kind: str) -> bool:
    """Inpainting that the pipeline for it does not know for such latents: each step is blended with the source."""
    return kind == "inpainting" and family_of(pipe) in ("sd1", "sdxl") and pipe.unet.config.in_channels not in _SD_CHANNELS


def pipe_for(pipe: Any, kind: str, controlnet: Any = None) -> Any:
    """One over the same modules; takes no memory. Raises EngineError."""
    unet = getattr(pipe, "unet", None)
    if kind != "inpainting" and unet is not None and unet.config.in_channels != unet.config.out_channels:
        raise EngineError("unsupported", f"this model paints inside masks alone and can't do {kind}")
    if kind == "txt2img" and controlnet is None and not re.search("Img2Img|Inpaint", type(pipe).__name__):
        return pipe
    if blends(pipe, kind):
        kind = "img2img"
    extra = {} if controlnet is None else {"controlnet": controlnet}
    try:
        made = _AUTO[kind].from_pipe(pipe, **extra)
    except (ValueError, TypeError, AttributeError):
        with_control = " with ControlNet" if controlnet is not None else ""
        raise EngineError("unsupported", f"{type(pipe).__name__} can't do {kind}{with_control}") from None
    if family_of(pipe) == "sd3" and controlnet is not None and kind == "inpainting":
        raise EngineError("unsupported", "SD3 can't do inpainting with ControlNet")
    made.set_progress_bar_config(disable=True)
    return made
