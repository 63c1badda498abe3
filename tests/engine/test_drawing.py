"""What a child draws, without the child: seeds, batches, prompts, schedulers, memory. Runs real, tiny pipelines on the CPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np
import torch
from PIL import Image

from meshgen.engine import previews
from meshgen.engine.drawing import Drawing, Studio
from meshgen.engine.port import EngineError, Work
from tests.engine.tiny_pipelines import save_tiny_sd, save_tiny_sdxl

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

Told = list[tuple[str, dict[str, Any]]]


def work(**changes: Any) -> Work:
    fields: dict[str, Any] = {
        "model": "tiny", "prompt": "a red circle", "negative_prompt": "", "width": 32, "height": 32, "steps": 3,
        "guidance_scale": 5.0, "scheduler": "", "seeds": (7,),
    }  # fmt: skip
    return Work(**{**fields, **changes})


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return model_at(save_tiny_sd(tmp_path_factory.mktemp("sd")))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return model_at(save_tiny_sdxl(tmp_path_factory.mktemp("sdxl")))


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio("cpu", "auto", threads=1)


def model_at(folder: Path) -> dict[str, Any]:
    return {"name": "tiny", "path": str(folder), "variant": "", "allow_pickle": False}


def told(studio: Studio, model: dict[str, Any], job: Work, cancelled: Callable[[Told], bool] = lambda _: False) -> Told:
    heard: Told = []
    studio.draw(model, job, lambda what, **fields: heard.append((what, fields)), lambda: cancelled(heard))
    return heard


def pictures(studio: Studio, model: dict[str, Any], job: Work) -> list[np.ndarray[Any, Any]]:
    found = sorted((fields["index"], fields["png"]) for what, fields in told(studio, model, job) if what == "picture")
    assert [index for index, _ in found] == list(range(len(job.seeds)))
    return [pixels(png) for _, png in found]


def pixels(png: bytes) -> np.ndarray[Any, Any]:
    with Image.open(BytesIO(png)) as image:
        assert image.format == "PNG" and not image.info
        return np.asarray(image.convert("RGB")).astype(int)


def far(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> int:
    """The largest difference of any pixel, of 255."""
    return int(np.abs(one - other).max())


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_a_picture_follows_from_its_seed_alone(studio: Studio, family: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(family)
    (first,), (again,) = pictures(studio, model, work()), pictures(studio, model, work())
    other, same, _ = pictures(studio, model, work(seeds=(8, 7, 9)))
    assert first.shape == (32, 32, 3)
    assert far(first, again) == 0
    assert far(first, same) <= 1, "a picture must not depend on what is drawn beside it"
    assert far(first, other) > 8


def test_prompts_count(studio: Studio, sd: dict[str, Any]) -> None:
    (plain,) = pictures(studio, sd, work())
    for change in ({"prompt": "something else"}, {"negative_prompt": "blue squares"}, {"guidance_scale": 1.0}):
        assert far(plain, pictures(studio, sd, work(**change))[0]) > 0, change


def test_sides_are_as_asked(studio: Studio, sd: dict[str, Any]) -> None:
    assert pictures(studio, sd, work(width=48, height=24))[0].shape == (24, 48, 3)
    with pytest.raises(EngineError, match="33x32: this model needs sides in steps of 2") as caught:
        told(studio, sd, work(width=33))
    assert caught.value.reason == "bad_input"


@pytest.mark.parametrize(
    "name", ["k_euler", "k_euler_a", "k_heun", "k_dpm_2", "k_dpmpp_2m_karras", "k_dpmpp_sde", "DDIM", "lcm", "PNDMScheduler"]
)
def test_schedulers_draw_and_count_the_jobs_own_steps(studio: Studio, sd: dict[str, Any], name: str) -> None:
    heard = told(studio, sd, work(scheduler=name))
    assert [fields["step"] for what, fields in heard if what == "progress"] == [1, 2, 3]
    assert heard[-1][0] == "picture"


def test_a_jobs_scheduler_is_gone_with_it(studio: Studio, sd: dict[str, Any]) -> None:
    before = pictures(studio, sd, work())[0]
    other = pictures(studio, sd, work(scheduler="k_euler_a"))[0]
    assert far(before, other) > 0 and far(before, pictures(studio, sd, work())[0]) == 0


@pytest.mark.parametrize("name", ["k_nonsense", "k_dpm_fast", "DDIM_karras", "FlowMatchEulerDiscreteScheduler", "__init__"])
def test_other_schedulers_are_refused(studio: Studio, sd: dict[str, Any], name: str) -> None:
    with pytest.raises(EngineError, match="scheduler") as caught:
        told(studio, sd, work(scheduler=name))
    assert caught.value.reason == "bad_input"


def test_previews_are_small_jpegs_that_go_forward(studio: Studio, sd: dict[str, Any]) -> None:
    heard = [fields for what, fields in told(studio, sd, work(steps=5, preview_every=2, seeds=(1, 2))) if what == "preview"]
    assert [(fields["index"], fields["step"]) for fields in heard] == [(0, 2), (1, 2), (0, 4), (1, 4)]
    with Image.open(BytesIO(heard[0]["jpeg"])) as image:
        assert image.format == "JPEG" and max(image.size) <= 128


def test_previews_of_a_large_decoder_are_learnt_from_its_pictures(sd: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "SMALL_DECODER", 0)
    studio, job = Studio("cpu", "auto", threads=1), work(steps=4, preview_every=2, seeds=(1, 2))
    first, second = told(studio, sd, job), told(studio, sd, job)
    assert [what for what, _ in first].count("preview") == 0
    shown = [fields["jpeg"] for what, fields in second if what == "preview"]
    assert len(shown) == 2
    with Image.open(BytesIO(shown[0])) as image:
        assert image.format == "JPEG" and image.size == (16, 16), "a pixel for each place of the latents"


def test_the_learnt_map_finds_colours() -> None:
    coarse = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    latents = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    colours = (latents[:, :3] * 40 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    previewer = previews.Previewer(object())
    previewer.learn(latents, [Image.fromarray(one) for one in colours])
    with Image.open(BytesIO(previewer.jpegs(latents)[1])) as image:
        off = np.abs(np.asarray(image).astype(int) - colours[1]).mean()
    assert off < 6


@pytest.mark.parametrize("after", [0, 1, 2])
def test_cancelling_takes_a_step_at_most(studio: Studio, sd: dict[str, Any], after: int) -> None:
    heard = told(studio, sd, work(steps=50), lambda heard: len(heard) >= after)
    assert [what for what, _ in heard] == ["progress"] * after
    assert pictures(studio, sd, work())


def test_running_out_of_memory_halves_the_batch(studio: Studio, sd: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (expected,) = pictures(studio, sd, work(seeds=(3,)))
    tried = scarce(monkeypatch, most=1)
    drawn = pictures(studio, sd, work(seeds=(1, 2, 3, 4)))
    assert tried == [4, 2, 1, 1, 1, 1]
    assert far(drawn[2], expected) <= 1


def test_what_never_fits_is_refused(sd: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    studio = Studio("cpu", "auto", threads=1)
    tried = scarce(monkeypatch, most=0)
    with pytest.raises(EngineError, match="32x32 does not fit") as caught:
        told(studio, sd, work())
    assert caught.value.reason == "out_of_memory"
    assert tried == [1, 1], "the second time with the decoder in tiles"


def scarce(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Have memory run out above a batch of ``most``. Returns the batches' sizes, as they are tried."""
    tried, draw = [], Drawing.draw

    def poor(drawing: Drawing, batch: Sequence[int]) -> bool:
        tried.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("too much")
        return draw(drawing, batch)

    monkeypatch.setattr(Drawing, "draw", poor)
    return tried


def test_only_so_many_models_stay_in_memory(studio: Studio, sd: dict[str, Any], sdxl: dict[str, Any]) -> None:
    studio = Studio("cpu", "auto", threads=1, keep_loaded=1)
    first = studio.load(sd)
    assert studio.load(sd) is first
    studio.load(sdxl)
    assert studio.load(sd) is not first


def test_a_model_that_can_t_be_loaded_is_named(studio: Studio, sd: dict[str, Any], tmp_path: Path) -> None:
    folder = shutil.copytree(sd["path"], tmp_path / "damaged")
    config = folder / "unet/config.json"
    config.write_text(config.read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 64'))
    with pytest.raises(EngineError, match="damaged can't be loaded") as caught:
        studio.load(model_at(folder))
    assert caught.value.reason == "bad_model"


@pytest.mark.parametrize("device", ["cuda:63", "tpu"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(EngineError, match=f"no device {device} here; set worker.device: auto") as caught:
        Studio(device, "auto")
    assert caught.value.reason == "unsupported"
