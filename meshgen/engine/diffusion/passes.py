"""One run of a batch through the denoiser, or two: composed small, then enlarged and refined. Child side."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from PIL import Image

from meshgen.engine.diffusion.blending import Blend
from meshgen.engine.diffusion.conditioning import Canvas
from meshgen.engine.diffusion.decoding import alone, certain, decode, unpacked
from meshgen.engine.diffusion.encoding import Row
from meshgen.engine.diffusion.interrupting import interruptible
from meshgen.engine.diffusion.kinds import blends, family_of, kind_of, pipe_for, unit_of
from meshgen.engine.diffusion.pipelines import Loaded
from meshgen.engine.diffusion.placed import placed
from meshgen.engine.diffusion.watching import Watch
from meshgen.engine.port import Work

HIRES_STRENGTH = 0.6
"""How much of the enlarged composition is given up."""
HIRES_FROM = 1.2
"""Times the pixels of the model's own size, from where pictures are composed at that first."""

Size = tuple[int, int]
"""(width, height) in pixels."""


class Pass:
    """The pictures of one batch: ``rows`` and ``seeds`` in their order."""

    def __init__(self, loaded: Loaded, work: Work, rows: Sequence[Row], seeds: Sequence[int], watch: Watch) -> None:
        self._loaded = loaded
        self._work = work
        self._watch = watch
        self._prompts = {name: _joined([row[name] for row in rows]) for name in rows[0]}
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def run(
        self,
        size: Size,
        canvases: Sequence[Canvas],
        controlnet: Any = None,
        maps: Sequence[Image.Image] = (),
        strength: float = 1.0,
        more: float = 0.0,
    ) -> Any:
        """Latents as the pipeline leaves them, or pictures of a family that is not known here. No ``canvases``: from noise alone.

        ``strength``: of work that starts from a picture. ``more``: what later passes will take, as a share of this one.
        """
        self._loaded.set_scheduler(self._work.scheduler)
        kind = kind_of(canvases[0] if canvases else None)
        pipe = pipe_for(self._loaded.pipe, kind, controlnet)
        blend = Blend(pipe, canvases, self._generators) if blends(pipe, kind) else None
        given = {
            **self._pictures(pipe, canvases, maps, masked=blend is None),
            "strength": _strength(strength, self._work.steps),
            "callback_on_step_end": self._on_step(size, more, blend),
        }
        with ExitStack() as guards:
            if canvases:
                guards.enter_context(alone(pipe))
            if maps and family_of(pipe) == "sd3":
                guards.enter_context(certain(pipe.vae))
            return self._call(pipe, size, given)

    def run_twice(self, first: Size, size: Size, controlnet: Any = None, maps: Sequence[Image.Image] = ()) -> Any:
        """Composed at ``first``, refined at ``size``."""
        small = [one.resize(first, Image.Resampling.LANCZOS) for one in maps]
        latents = self.run(first, [], controlnet, small, more=HIRES_STRENGTH)
        images = decode(self._loaded.pipe, unpacked(self._loaded.pipe, latents, first))
        canvases = [Canvas(image.resize(size, Image.Resampling.LANCZOS), None) for image in images]
        return self.run(size, canvases, strength=HIRES_STRENGTH)

    def _call(self, pipe: Any, size: Size, given: dict[str, Any]) -> Any:
        work = self._work
        possible = {
            **self._prompts,
            **given,
            "width": size[0],
            "height": size[1],
            "num_inference_steps": work.steps,
            "guidance_scale": work.guidance_scale,
            "controlnet_conditioning_scale": work.control.weight if work.control else 1.0,
            "generator": self._generators,
            "output_type": "pil" if family_of(pipe) == "other" else "latent",
        }
        takes = inspect.signature(type(pipe).__call__).parameters
        self._watch.begin_pass()
        with interruptible(pipe, self._watch.living), placed(pipe, self._loaded.device.place):
            drawn = pipe(**{name: value for name, value in possible.items() if name in takes}).images
        self._watch.end_pass(getattr(pipe, "num_timesteps", work.steps))
        return drawn

    def _on_step(self, size: Size, more: float, blend: Blend | None) -> Callable[..., dict[str, Any]]:
        def on_step(pipe: Any, at: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            latents = tensors["latents"]
            self._watch.on_call(at, getattr(pipe, "num_timesteps", self._work.steps), more, latents, size)
            return {"latents": blend(pipe, at, latents)} if blend else {}

        return on_step

    @staticmethod
    def _pictures(pipe: Any, canvases: Sequence[Canvas], maps: Sequence[Image.Image], masked: bool) -> dict[str, Any]:
        given: dict[str, Any] = {"control_image": list(maps)} if maps else {}
        if canvases:
            given["image"] = [canvas.picture for canvas in canvases]
        elif maps:
            given["image"] = list(maps)  # so SD 1 and SDXL call them where there is no other picture
        if canvases and canvases[0].mask is not None and masked:
            given["mask_image"] = [canvas.cells(unit_of(pipe)) for canvas in canvases]
        return given


def composed(pipe: Any, work: Work) -> Size | None:
    """The size at which a job with ``hires_fix`` is composed; None if it is drawn at once."""
    own = own_side(pipe)
    if not work.hires_fix or not own or work.width * work.height < HIRES_FROM * own * own:
        return None
    unit = unit_of(pipe) * max(1, own // 16 // unit_of(pipe))
    share = own / math.sqrt(work.width * work.height)
    return max(unit, round(work.width * share / unit) * unit), max(unit, round(work.height * share / unit) * unit)


def own_side(pipe: Any) -> int:
    """Pixels of a side of the pictures that the model was trained on; 0 if that can't be told."""
    if family_of(pipe) == "other":
        return 0
    side = getattr(pipe, "default_sample_size", None) or pipe.unet.config.sample_size
    return int(side) * int(pipe.vae_scale_factor)


def _strength(strength: float, steps: int) -> float:
    """Enough for one step at least."""
    return strength if int(steps * strength) >= 1 else math.nextafter(1 / steps, 1)


def _joined(values: Sequence[Any]) -> Any:
    return torch.cat(list(values)) if isinstance(values[0], torch.Tensor) else list(values)
