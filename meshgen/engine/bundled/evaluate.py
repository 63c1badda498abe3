"""Draws prompts that training never saw, has the model paint them, and counts what the judge finds right.

python -m meshgen.engine.bundled.evaluate [--grid FILE] [--steps N] [--count N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshgen.engine.bundled import model_path
from meshgen.engine.bundled.draw import SCENES, Pixels, Scene, held_out, random_scene
from meshgen.engine.bundled.judge import PARTS, parts_right, right
from meshgen.engine.bundled.prompts import prompt_for

__all__ = ["Result", "held_out_prompts", "load", "paint", "score"]

SEED = 20_26
COUNT = 64
STEPS = 10
GUIDANCE = 3.0


@dataclass(frozen=True, slots=True)
class Result:
    """One prompt, what it asks for, and how the picture did."""

    prompt: str
    asked: Scene
    picture: Pixels
    parts: dict[str, bool]
    right: bool


def held_out_prompts(count: int = COUNT, seed: int = SEED) -> list[tuple[str, Scene]]:
    """Prompts for combinations of attributes that the training leaves out, two things in six of ten."""
    rng = np.random.default_rng(seed)
    prompts: list[tuple[str, Scene]] = []
    while len(prompts) < count:
        scene = random_scene(rng, pairs=0.6, scenes=0.0)
        if held_out(scene):
            text, asked = prompt_for(scene, rng)
            if asked == scene:  # a prompt that leaves a colour open can't be judged on it
                prompts.append((text, asked))
    return prompts


def scene_prompts(count: int = 16, seed: int = SEED) -> list[tuple[str, Scene]]:
    rng = np.random.default_rng(seed)
    return [prompt_for(Scene(SCENES[index % len(SCENES)]), rng) for index in range(count)]


def load(folder: Path | None = None) -> Any:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder or model_path(), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(
    pipeline: Any,
    prompts: Sequence[str],
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    batch: int = 1,
) -> list[Pixels]:
    """A picture for each prompt; each has a generator of its own, so batches change nothing."""
    import torch

    pictures: list[Pixels] = []
    for start in range(0, len(prompts), batch):
        texts = list(prompts[start : start + batch])
        seeds = [torch.Generator().manual_seed(SEED + start + index) for index in range(len(texts))]
        images = pipeline(texts, num_inference_steps=steps, guidance_scale=guidance, generator=seeds, output_type="np")[0]
        pictures += list(np.clip(images * 255 + 0.5, 0, 255).astype(np.uint8))
    return pictures


def score(prompts: Sequence[tuple[str, Scene]], pictures: Sequence[Pixels]) -> list[Result]:
    return [
        Result(text, asked, picture, parts_right(picture, asked), right(picture, asked))
        for (text, asked), picture in zip(prompts, pictures, strict=True)
    ]


def table(results: Sequence[Result]) -> str:
    lines = []
    for part in PARTS:
        told = [result.parts[part] for result in results if part in result.parts]
        if told:
            lines.append(f"{part:14} {sum(told):3} of {len(told):3}")
    whole = sum(result.right for result in results)
    lines.append(f"{'all right':14} {whole:3} of {len(results):3}  ({whole / len(results):.1%})")
    return "\n".join(lines)


def write_grid(results: Sequence[Result], path: Path, columns: int = 8) -> None:
    """A labelled contact sheet; a red label marks what the judge found wrong."""
    from PIL import Image, ImageDraw

    side, label = 128, 46
    rows = -(-len(results) // columns)
    sheet = Image.new("RGB", (columns * (side + 6), rows * (side + label)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, result in enumerate(results):
        x, y = index % columns * (side + 6) + 3, index // columns * (side + label) + 3
        sheet.paste(Image.fromarray(result.picture).resize((side, side), Image.Resampling.LANCZOS), (x, y))
        pen.rectangle((x - 1, y - 1, x + side, y + side), outline=(200, 200, 200))
        colour = (60, 60, 60) if result.right else (200, 0, 0)
        pen.multiline_text((x, y + side + 2), _wrapped(result.prompt, 25), fill=colour, font_size=10, spacing=1)
    sheet.quantize(128).save(path, optimize=True)


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)[:3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=model_path())
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED, help="draws the prompts")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--grid", type=Path, help="also write a labelled picture of the results here")
    asked = parser.parse_args()
    pipeline = load(asked.model)
    prompts = held_out_prompts(asked.count, asked.seed)
    began = time.perf_counter()
    pictures = paint(pipeline, [text for text, _ in prompts], asked.steps, asked.guidance, asked.batch)
    spent = (time.perf_counter() - began) / len(prompts)
    results = score(prompts, pictures)
    print(f"{len(prompts)} held-out prompts, seed {asked.seed}, {asked.steps} steps, guidance {asked.guidance}")
    print(table(results))
    for result in results:
        if not result.right:
            print("  wrong:", result.prompt, "|", ", ".join(part for part, ok in result.parts.items() if not ok))
    whole = scene_prompts()
    scenes = score(whole, paint(pipeline, [text for text, _ in whole], asked.steps, asked.guidance, asked.batch))
    print(f"{'scenes':14} {sum(result.right for result in scenes):3} of {len(scenes):3}")
    print(f"{spent:.2f} s a picture")
    if asked.grid:
        write_grid([*results, *scenes[:8]], asked.grid)


if __name__ == "__main__":
    main()
