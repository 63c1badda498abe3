"""A pipeline that is told its device is the same pipeline in all else."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch

from meshgen.engine.diffusion.kinds import family_of
from meshgen.engine.diffusion.placed import placed
from tests.engine.tiny_studio import model, studio

pytestmark = pytest.mark.torch


def test_it_knows_its_device_within_and_is_itself_after() -> None:
    pipe = studio().load(model("sd1")).pipe
    kind = type(pipe)
    with pytest.raises(KeyError), placed(pipe, "meta"):
        assert pipe._execution_device == torch.device("meta") and isinstance(pipe, kind) and family_of(pipe) == "sd1"
        raise KeyError
    assert type(pipe) is kind and pipe._execution_device == torch.device("cpu")
