"""Draws one job: all its pictures in batches as large as memory allows, with progress, previews and cancellation. Child side."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import torch
from PIL import Image

from meshgen.engine.devices import find_device
from meshgen.engine.pipelines import Loaded, Pipelines, attempt
from meshgen.engine.port import EngineError, Work

MAX_BATCH = 8
PNG_LEVEL = 4

UNFIT = (ValueError, TypeError, LookupError, ArithmeticError)
"""What a pipeline raises over arguments that it or its scheduler can't combine: that fails the job, and the child goes on."""

Tell = Callable[..., None]


class Cancelled(Exception):
    """The node does not want the job any more."""


class Studio:
    """A device and the models on it. Raises EngineError if there is no such device."""

    def __init__(self, device: str, dtype: str, threads: int = 0, keep_loaded: int = 2) -> None:
        self.device = find_device(device, dtype)
        self._pipelines = Pipelines(self.device, threads, keep_loaded)

    def load(self, model: dict[str, Any]) -> Loaded:
        """Raises EngineError."""
        return self._pipelines.get(model["path"], model["variant"], model["allow_pickle"])

    def draw(self, model: dict[str, Any], work: Work, tell: Tell, cancelled: Callable[[], bool]) -> None:
        """Tells progress, previews and pictures; returns early if the job is cancelled. Raises EngineError."""
        if cancelled():
            return
        loaded = self.load(model)
        _check(loaded, work)
        drawing = Drawing(loaded, work, tell, cancelled)
        todo, size = list(range(len(work.seeds))), self._batch_size(work)
        try:
            while todo:
                batch = todo[:size]
                if attempt(lambda batch=batch: drawing.draw(batch)):  # type: ignore[misc]
                    todo = todo[size:]
                elif len(batch) > 1:
                    size = len(batch) // 2
                elif not self._make_room(loaded):
                    raise EngineError("out_of_memory", f"{work.width}x{work.height} does not fit into this device's memory")
        except Cancelled:
            return

    def _batch_size(self, work: Work) -> int:
        return max(1, min(MAX_BATCH, self.device.batch_pixels() // (work.width * work.height)))

    def _make_room(self, loaded: Loaded) -> bool:
        self._pipelines.let_go(keep=1)
        return loaded.relieve()


class Drawing:
    """One job on a loaded model."""

    def __init__(self, loaded: Loaded, work: Work, tell: Tell, cancelled: Callable[[], bool]) -> None:
        self._loaded = loaded
        self._work = work
        self._tell = tell
        self._cancelled = cancelled
        self._previewed: dict[int, int] = {}
        self._latents: Any = None
        self._takes = inspect.signature(loaded.pipe.__call__).parameters

    def draw(self, batch: Sequence[int]) -> bool:
        """These pictures as one batch. Raises Cancelled, EngineError, and torch's errors when memory runs out."""
        started, work = time.perf_counter(), self._work
        self._loaded.set_scheduler(work.scheduler)
        try:
            images = self._loaded.pipe(**self._arguments(batch)).images
        except UNFIT as error:
            where = inspect.trace()[-1]
            raise EngineError(
                "bad_input",
                f"the pipeline can't do {work.steps} steps with {work.scheduler or 'its own scheduler'} at "
                f"{work.width}x{work.height} ({type(error).__name__} in {where.function}, line {where.lineno})",
            ) from None
        self._loaded.previewer.learn(self._latents, images)
        pngs = [_png(image) for image in images]
        seconds = (time.perf_counter() - started) / len(batch)
        for index, png in zip(batch, pngs, strict=True):
            self._tell("picture", index=index, seed=work.seeds[index], png=png, seconds=seconds)
        return True

    def _arguments(self, batch: Sequence[int]) -> dict[str, Any]:
        work = self._work
        arguments: dict[str, Any] = {
            "prompt": [work.prompt] * len(batch),
            "width": work.width,
            "height": work.height,
            "num_inference_steps": work.steps,
            "guidance_scale": work.guidance_scale,
            "generator": [torch.Generator("cpu").manual_seed(work.seeds[index]) for index in batch],
            "output_type": "pil",
        }
        if "negative_prompt" in self._takes:
            arguments["negative_prompt"] = [work.negative_prompt] * len(batch)
        if "callback_on_step_end" in self._takes:
            arguments["callback_on_step_end"] = lambda pipe, at, _time, tensors: self._on_step(batch, pipe, at, tensors)
        return arguments

    def _on_step(self, batch: Sequence[int], pipe: Any, at: int, tensors: dict[str, Any]) -> dict[str, Any]:
        """Some schedulers call the denoiser more than once a step: progress counts the job's steps."""
        if self._cancelled():
            raise Cancelled
        work, self._latents = self._work, tensors.get("latents")
        calls = max(getattr(pipe, "num_timesteps", work.steps), 1)
        step, before = (-(-number * work.steps // calls) for number in (at + 1, at))
        step = min(step, work.steps)
        if step > before:
            self._tell("progress", indexes=list(batch), step=step)
            if work.preview_every and step % work.preview_every == 0 and step < work.steps:
                self._preview(batch, step, self._latents)
        return {}

    def _preview(self, batch: Sequence[int], step: int, latents: Any) -> None:
        for index, jpeg in zip(batch, self._loaded.previewer.jpegs(latents), strict=False):
            if step > self._previewed.get(index, 0):  # a batch that is drawn again shows nothing twice
                self._previewed[index] = step
                self._tell("preview", index=index, step=step, jpeg=jpeg)


def _check(loaded: Loaded, work: Work) -> None:
    for side in (work.width, work.height):
        if side % loaded.scale:
            raise EngineError(
                "bad_input", f"{work.width}x{work.height}: this model needs sides in steps of {loaded.scale} pixels"
            )


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()
