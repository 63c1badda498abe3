"""A process of its own: a bare diffusers loop over one model, told by lines on its standard input what to do next.

``draw SIDE STEPS BATCH COUNT``: so many batches, to PNG; answers wall and CPU seconds. ``load``: answers the seconds of
loading the model anew. ``preview SIDE``: answers the seconds that one takes, by the engine's own hand. ``free``: MiB of the
device that nobody has.
"""

from __future__ import annotations

import statistics
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from meshgen.engine.diffusion.devices import Device, find_device
from meshgen.engine.diffusion.previews import Previewer

PROMPT = "a red circle above a blue square on a yellow background"
PNG_LEVEL = 4


def main() -> None:
    folder, device = Path(sys.argv[1]), find_device(sys.argv[2], "auto")
    if device.kind == "cpu":
        torch.set_num_threads(int(sys.argv[3]))
    pipe: Any = load(folder, device)
    answer("ready")
    for line in sys.stdin:
        verb, *numbers = line.split()
        match verb:
            case "draw":
                answer(*draw(pipe, *map(int, numbers)))
            case "load":
                started = time.perf_counter()
                del pipe
                pipe = load(folder, device)
                answer(time.perf_counter() - started)
            case "preview":
                answer(preview(pipe, *map(int, numbers)))
            case "free":
                answer(device.free_mib())


def load(folder: Path, device: Device) -> Any:
    pipe = DiffusionPipeline.from_pretrained(folder, dtype=device.dtype, local_files_only=True, use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    pipe.to(device.place)
    for part in (pipe.unet, pipe.vae):
        part.to(memory_format=torch.channels_last)
    return pipe


def draw(pipe: Any, side: int, steps: int, batch: int, count: int) -> tuple[float, float]:
    started, worked = time.perf_counter(), time.process_time()
    for number in range(count):
        generators = [torch.Generator("cpu").manual_seed(number * batch + seed) for seed in range(batch)]
        images = pipe(
            [PROMPT] * batch, width=side, height=side, num_inference_steps=steps, guidance_scale=5.0, generator=generators
        ).images
        for image in images:
            image.save(BytesIO(), "PNG", compress_level=PNG_LEVEL)
    return time.perf_counter() - started, time.process_time() - worked


def preview(pipe: Any, side: int) -> float:
    latents = pipe(PROMPT, width=side, height=side, num_inference_steps=1, output_type="latent").images
    previewer, times = Previewer(pipe), []
    for _ in range(21):
        started = time.perf_counter()
        previewer.jpegs(latents, (side, side))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def answer(*values: object) -> None:
    print(*values, flush=True)


if __name__ == "__main__":
    main()
