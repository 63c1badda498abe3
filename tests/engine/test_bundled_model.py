"""The bundled model: its drawer, its judge, its folder, and a few pictures that it never saw."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meshgen.engine.bundled import model_path
from meshgen.engine.bundled.draw import COLOURS, SHAPES, Pixels, Scene, Thing, held_out, random_scene, render
from meshgen.engine.bundled.judge import parts_right, read_scene, right
from meshgen.engine.bundled.prompts import plain_prompt, prompt_for

SEED = 20261


def soften(pictures: Pixels, rng: np.random.Generator) -> Pixels:
    """A light blur and some noise: what a decoder might do to a right picture."""
    padded = np.pad(pictures.astype(np.float32), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    blurred = sum(
        weight * padded[:, 1 + dy : 65 + dy, 1 + dx : 65 + dx]
        for dy, dx, weight in ((0, 0, 0.5), (0, 1, 0.125), (1, 0, 0.125), (0, -1, 0.125), (-1, 0, 0.125))
    )
    return np.clip(blurred + rng.normal(0, 6, blurred.shape), 0, 255).astype(np.uint8)


def drawn(count: int, seed: int = SEED) -> tuple[list[Scene], Pixels, np.random.Generator]:
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng) for _ in range(count)]
    return scenes, render(scenes, rng), rng


def test_the_same_seed_draws_the_same_pictures() -> None:
    assert np.array_equal(drawn(8)[1], drawn(8)[1])


@pytest.mark.parametrize("softened", [False, True])
def test_judge_reads_what_the_drawer_drew(softened: bool) -> None:
    scenes, pictures, rng = drawn(120)
    if softened:
        pictures = soften(pictures, rng)
    wrong = [(scene, read_scene(picture)) for scene, picture in zip(scenes, pictures, strict=True) if not right(picture, scene)]
    assert len(wrong) <= 2, f"seed {SEED}: {wrong}"


def changed(scene: Scene) -> list[Scene]:
    """The scene with one thing about it wrong, in every way that prompts can be disobeyed."""
    assert scene.a is not None
    shape = SHAPES[(SHAPES.index(scene.a.shape) + 1) % len(SHAPES)]
    colour = next(name for name in COLOURS if name not in (*scene.colours(), scene.background))
    others = [
        replace(scene, a=replace(scene.a, shape=shape)),
        replace(scene, a=replace(scene.a, colour=colour)),
        replace(scene, background=colour),
    ]
    if scene.b is None:
        return [*others, replace(scene, layout={"single": "big", "small": "single", "big": "small"}[scene.layout])]
    swapped = replace(scene, a=scene.b, b=scene.a)
    turned = replace(scene, layout="horizontal" if scene.layout == "vertical" else "vertical")
    return [*others, swapped, turned, replace(scene, layout="single", b=None)]


def test_judge_rejects_each_single_mistake() -> None:
    scenes, pictures, _ = drawn(40, SEED + 1)
    for scene, picture in zip(scenes, pictures, strict=True):
        if scene.a is not None:
            accepted = [other for other in changed(scene) if right(picture, other)]
            assert not accepted, f"seed {SEED + 1}: {scene} passed for {accepted}"


def test_judge_rejects_noise_blanks_and_blots() -> None:
    rng = np.random.default_rng(SEED)
    scene = Scene("single", Thing("circle", "red"), None, "white")
    picture = render([scene], rng)[0]
    blotted = picture.copy()
    blotted[2:9, 2:9] = COLOURS["blue"]
    for bad in (rng.integers(0, 256, picture.shape, dtype=np.uint8), np.full_like(picture, 250), blotted):
        assert not right(bad, scene)
    assert parts_right(picture, scene) == dict.fromkeys(("background", "layout", "first shape", "first colour"), True)


def test_held_out_combinations_are_few_and_fixed() -> None:
    rng = np.random.default_rng(SEED)
    share = np.mean([held_out(random_scene(rng, scenes=0.0)) for _ in range(3000)])
    assert 0.04 < share < 0.09
    assert not held_out(Scene("sunset"))


def test_prompts_name_what_they_ask_for() -> None:
    rng = np.random.default_rng(SEED)
    scene = Scene("vertical", Thing("circle", "red"), Thing("square", "blue"), "yellow")
    assert plain_prompt(scene) == "a red circle above a blue square on a yellow background"
    for _ in range(50):
        text, asked = prompt_for(scene, rng)
        assert asked == scene
        assert all(word in text for word in ("red", "blue", "yellow")), text


def test_the_package_and_its_judge_need_no_torch() -> None:
    code = "import sys, meshgen.engine.bundled.judge, meshgen.engine.bundled.prompts; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_folder_is_whole_and_small() -> None:
    files = [path for path in model_path().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 20_000_000
    names = {path.relative_to(model_path()).as_posix() for path in files}
    assert {
        "model_index.json",
        "README.md",
        "scheduler/scheduler_config.json",
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    } <= names
    assert not [name for name in names if Path(name).suffix in {".bin", ".pt", ".ckpt", ".pkl"}]


def test_it_paints_what_it_never_saw() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from meshgen.engine.bundled import evaluate

    prompts = evaluate.held_out_prompts(16)
    pictures = evaluate.paint(evaluate.load(), [text for text, _ in prompts], steps=10, batch=16)
    results = evaluate.score(prompts, pictures)
    wrong = [(result.prompt, result.parts) for result in results if not result.right]
    assert len(wrong) <= 4, f"seed {evaluate.SEED}: {wrong}"
