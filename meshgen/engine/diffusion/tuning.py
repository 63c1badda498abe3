"""What makes a loaded pipeline faster or smaller on its device. Child side: torch and diffusers."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import torch

from meshgen.engine.diffusion.devices import Device
from meshgen.engine.diffusion.memory import Fit
from meshgen.engine.port import EngineError

TILE_PIXELS, SMALL_TILE_PIXELS = 1536, 512
"""Sides beyond are decoded in tiles; the small ones once memory ran out."""
_DENOISERS = ("unet", "transformer")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the owner chose. ``quantized``: "", int8 or int4."""

    leave_free_mib: int = 512
    max_batch: int = 8
    compiled: bool = False
    quantized: str = ""


def tune(pipe: Any, plan: Plan, device: Device) -> None:
    """Attention is torch's own (SDPA) by diffusers' default. Raises EngineError if the plan needs what is not installed."""
    for name in ("unet", "vae"):
        if (module := getattr(pipe, name, None)) is not None:
            module.to(memory_format=torch.channels_last)
    vae: Any = getattr(pipe, "vae", None)
    if device.kind != "cpu" and hasattr(vae, "enable_slicing"):
        vae.enable_slicing()
        _tile_beyond(vae, TILE_PIXELS)
    denoiser = next((getattr(pipe, name) for name in _DENOISERS if getattr(pipe, name, None) is not None), None)
    if denoiser is not None and plan.quantized:
        _quantize(denoiser, plan.quantized)
    if denoiser is not None and plan.compiled:
        torch._dynamo.config.suppress_errors = True  # what can't be compiled runs as it is
        denoiser.compile(dynamic=False)


def tile(pipe: Any) -> None:
    """Decode in small tiles, one picture after the other."""
    vae: Any = getattr(pipe, "vae", None)
    for measure in ("enable_tiling", "enable_slicing"):
        if hasattr(vae, measure):
            getattr(vae, measure)()
    _tile_beyond(vae, SMALL_TILE_PIXELS)


def offload(pipe: Any, fit: Fit, place: str) -> None:
    """Keep weights in the machine's memory; parts or layers come to the device while they compute."""
    if fit is Fit.LAYER_BY_LAYER:
        pipe.remove_all_hooks()
        pipe.to("cpu")
        pipe.enable_sequential_cpu_offload(device=place)
    else:
        pipe.enable_model_cpu_offload(device=place)


def _tile_beyond(vae: Any, side: int) -> None:
    if hasattr(vae, "enable_tiling") and hasattr(vae, "tile_latent_min_size"):
        vae.enable_tiling()
        shrink = max(vae.tile_sample_min_size // max(vae.tile_latent_min_size, 1), 1)
        vae.tile_sample_min_size, vae.tile_latent_min_size = side, side // shrink


def _quantize(denoiser: torch.nn.Module, how: str) -> None:
    if importlib.util.find_spec("torchao") is None:
        raise EngineError("unsupported", "quantized weights need torchao here; run: pip install torchao")
    torchao: Any = importlib.import_module("torchao.quantization")
    config = torchao.Int8WeightOnlyConfig() if how == "int8" else torchao.Int4WeightOnlyConfig()
    torchao.quantize_(denoiser, config)
