"""Checkpoints in the original layout load offline and draw what the diffusers folder with the same weights draws."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from diffusers import AutoencoderKL, DiffusionPipeline, FluxTransformer2DModel, SD3Transformer2DModel  # noqa: E402
from diffusers.loaders import single_file_utils  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection  # noqa: E402

from meshgen.engine.loading import load_pipeline  # noqa: E402
from meshgen.engine.port import EngineError  # noqa: E402
from meshgen.engine.single_file import read_single_file  # noqa: E402
from meshgen.engine.single_file_configs import flux_config, sd3_config  # noqa: E402
from tests.engine import original_layout  # noqa: E402
from tests.engine.original_layout import save_single_file  # noqa: E402
from tests.engine.tiny_originals import tiny_sd, tiny_sd3, tiny_sdxl, vocabulary  # noqa: E402


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-cache"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


def frame(path: Path, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    given = {"name": "m", "path": str(path), "variant": "", "allow_pickle": False, "format": "single_file"}
    return given | {"vocabularies": {"clip": str(vocabulary(tmp_path / "vocabulary"))}} | changes


def picture(pipe: Any, **more: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    given = {"num_inference_steps": 2, "width": 32, "height": 32, "output_type": "np"}
    return pipe("a red cat", generator=torch.Generator().manual_seed(7), **(given | more)).images[0]


@pytest.mark.parametrize("make", [tiny_sd, tiny_sdxl, tiny_sd3])
def test_it_draws_what_the_folder_draws(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    pipe = make(tmp_path / "vocabulary")
    path = save_single_file(pipe, tmp_path / "model.safetensors")
    loaded = load_pipeline(frame(path, tmp_path), torch.float32)
    assert type(loaded) is type(pipe)
    loaded.scheduler = pipe.scheduler
    assert abs(picture(loaded) - picture(pipe)).max() < 1e-4


def test_a_folder_loads_as_ever(tmp_path: Path) -> None:
    pipe = tiny_sd(tmp_path / "vocabulary")
    pipe.save_pretrained(tmp_path / "folder")
    loaded = load_pipeline(frame(tmp_path / "folder", tmp_path, format="diffusers"), torch.float32)
    assert abs(picture(loaded) - picture(pipe)).max() < 1e-6
