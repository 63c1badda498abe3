"""A job that nobody waits for stops within its step."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch

from meshgen.engine.diffusion.drawing import Member
from meshgen.engine.diffusion.interrupting import interruptible
from tests.engine.pictures import work
from tests.engine.tiny_pipelines import FAMILIES
from tests.engine.tiny_studio import model, studio

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_stops_between_two_blocks(family: str) -> None:
    asked: list[int] = []
    told: list[str] = []
    at_first_step = 10**9

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > at_first_step + 1  # the second time after the first step, which is within the second one

    def tell(what: str, **fields: Any) -> None:
        nonlocal at_first_step
        at_first_step = len(asked)
        told.append(what)

    studio().draw(model(family), [Member(work(scheduler="", steps=9, seeds=(1,)), tell, cancelled)])
    assert told == ["progress"]
    assert not any(part._forward_pre_hooks for part in _modules(family))


def test_what_is_compiled_is_left_alone() -> None:
    class Pipe:
        unet = torch.nn.Module()

    Pipe.unet.down_blocks = torch.nn.ModuleList([torch.nn.Identity()])
    with interruptible(Pipe, lambda: None):
        assert Pipe.unet.down_blocks[0]._forward_pre_hooks
    Pipe.unet.compile()
    with interruptible(Pipe, lambda: None):
        assert not Pipe.unet.down_blocks[0]._forward_pre_hooks


def _modules(family: str) -> list[torch.nn.Module]:
    pipe = studio().load(model(family)).pipe
    return list((getattr(pipe, "unet", None) or pipe.transformer).modules())
