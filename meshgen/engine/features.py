"""What each family's pipelines can be asked for, in the words of adverts and offers."""

from __future__ import annotations

_BASE = ("txt2img", "img2img", "inpainting")
_UNET = ("negative_prompt", "clip_skip", "tiling", "hires_fix", "lora", "inversion", "controlnet")

FEATURES = {
    "sd1": (*_BASE, *_UNET),
    "sdxl": (*_BASE, *_UNET),
    "sd3": (*_BASE, "negative_prompt", "hires_fix", "lora", "controlnet"),
    "flux": (*_BASE, "hires_fix", "lora", "controlnet"),
}
_ONLY_INPAINTING = frozenset(("txt2img", "img2img", "controlnet", "hires_fix"))
"""What a model can't do whose denoiser wants a mask and what lies behind it."""


def features_of(family: str, pipeline: str = "", inpainting: bool = False) -> tuple[str, ...]:
    """``inpainting``: the model was made for that and does nothing else."""
    if family == "other" and pipeline.startswith("StableDiffusion"):
        family = "sd1"
    found = FEATURES.get(family, ("txt2img", "negative_prompt"))
    return tuple(word for word in found if not (inpainting and word in _ONLY_INPAINTING))
