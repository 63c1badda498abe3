"""Which pipeline draws what: over the same modules, and refused where there is none."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch
from diffusers import StableDiffusionInpaintPipeline, UNet2DConditionModel

from meshgen.engine.diffusion.kinds import blends, family_of, kind_of, pipe_for, unit_of
from meshgen.engine.port import EngineError
from tests.engine.tiny_pipelines import FAMILIES
from tests.engine.tiny_studio import model, studio

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]


def pipe_of(family: str) -> Any:
    return studio().load(model(family)).pipe


@pytest.mark.parametrize("family", FAMILIES)
def test_all_kinds_share_one_models_modules(family: str) -> None:
    pipe = pipe_of(family)
    assert family_of(pipe) == family and kind_of(None) == "txt2img"
    assert pipe_for(pipe, "txt2img") is pipe
    for kind, word in (("img2img", "Img2Img"), ("inpainting", "Inpaint")):
        made = pipe_for(pipe, kind)
        assert word in type(made).__name__ and not blends(pipe, kind)
        for name, part in pipe.components.items():
            if isinstance(part, torch.nn.Module):
                assert made.components[name] is part


@pytest.mark.parametrize(("family", "unit"), [("sd1", 2), ("sdxl", 2), ("sd3", 4), ("flux", 4)])
def test_sides_come_in_steps(family: str, unit: int) -> None:
    assert unit_of(pipe_of(family)) == unit


@pytest.mark.parametrize("kind", ["img2img", "inpainting"])
def test_what_diffusers_has_no_pipeline_for_is_refused(kind: str) -> None:
    with pytest.raises(EngineError, match=f"StableDiffusion3Pipeline can't do {kind} with ControlNet") as caught:
        pipe_for(pipe_of("sd3"), kind, object())
    assert caught.value.reason == "unsupported"


def test_a_model_made_for_masks_does_nothing_else() -> None:
    parts = dict(pipe_of("sd1").components)
    parts["unet"] = UNet2DConditionModel.from_config(parts["unet"].config, in_channels=9)
    pipe = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    assert type(pipe_for(pipe, "inpainting")) is StableDiffusionInpaintPipeline
    for kind in ("txt2img", "img2img"):
        with pytest.raises(EngineError, match=f"paints inside masks alone and can't do {kind}"):
            pipe_for(pipe, kind)
