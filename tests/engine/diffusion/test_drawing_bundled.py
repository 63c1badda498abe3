"""The bundled model does what the words say: from pictures, inside masks, around them, over the edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np
from PIL import Image

from meshgen.engine.bundled import model_path
from meshgen.engine.bundled.draw import COLOURS
from meshgen.engine.bundled.judge import read_scene
from meshgen.engine.diffusion.drawing import Member
from tests.engine.pictures import Pixels, encoded, pixels, work
from tests.engine.tiny_studio import model_at, studio

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

SEEDS = (1, 2)
RED_ON_WHITE = "a red circle on a white background"


def drawn(prompt: str, **changes: Any) -> list[Pixels]:
    fields = {"width": 64, "height": 64, **changes}
    job = work(prompt=prompt, steps=10, guidance_scale=4.0, seeds=SEEDS, **fields)
    found: dict[int, Pixels] = {}

    def tell(what: str, **fields: Any) -> None:
        if what == "picture":
            found[fields["index"]] = pixels(fields["png"])

    studio().draw(model_at(model_path()), [Member(job, tell, lambda: False)])
    return [found[index] for index in sorted(found)]


@pytest.fixture(scope="module")
def red() -> Pixels:
    return drawn(RED_ON_WHITE)[0]


def near(picture: Pixels, colour: str) -> float:
    """The part of it that has that colour."""
    return float((np.abs(picture - np.array(COLOURS[colour])).max(-1) < 60).mean())


def most(pictures: Sequence[Pixels], right: Any) -> bool:
    """Half of them: it is a small model."""
    return 2 * sum(bool(right(one)) for one in pictures) >= len(pictures)


def test_from_words(red: Pixels) -> None:
    scene = read_scene(red.astype(np.uint8))
    assert scene.background == "white" and scene.a and scene.a.colour == "red"


def test_from_a_picture(red: Pixels) -> None:
    turned = drawn("a green circle on a yellow background", source=encoded(red), strength=0.8)
    assert most(turned, lambda one: near(one, "yellow") > 0.5 and near(one, "green") > 0.1)


def test_inside_a_mask(red: Pixels) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[16:48, 16:48] = 255
    filled = drawn("a blue square on a white background", source=encoded(red), mask=encoded(mask), strength=1.0)
    for one in filled:
        assert (one[mask == 0] == red[mask == 0]).all()
    assert most(filled, lambda one: near(one[24:40, 24:40], "blue") > 0.7)


def test_around_a_picture(red: Pixels) -> None:
    small = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    small.paste(Image.fromarray(red.astype(np.uint8)).resize((40, 40)), (12, 12))
    grown = drawn(RED_ON_WHITE, source=encoded(small), strength=0.9)
    assert most(grown, lambda one: near(one[:10], "white") > 0.9 and near(one[-10:], "white") > 0.9)


def test_over_the_edges() -> None:
    """Across the seam of two copies the picture changes no more than elsewhere."""
    for one in drawn("a red circle on a blue background", tiling=True):
        steps = np.abs(np.diff(np.concatenate([one, one], axis=1), axis=1)).sum(-1).mean(0)
        assert steps[63] <= max(np.delete(steps, 63)) + 2


def test_larger_than_it_was_trained_for() -> None:
    """At once it becomes several circles; composed at the model's own size it stays one."""
    found = drawn(RED_ON_WHITE, width=128, height=128, hires_fix=True)
    small = [np.asarray(Image.fromarray(one.astype(np.uint8)).resize((64, 64))) for one in found]
    scenes = [read_scene(one) for one in small]
    assert most(scenes, lambda scene: scene.b is None and scene.a and scene.a.colour == "red"), scenes
