"""What a child draws, without the child: seeds, batches, prompts, schedulers, memory. Runs real, tiny pipelines on the CPU."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np
import torch
from PIL import Image

from meshgen.engine.diffusion import previews, watching
from meshgen.engine.diffusion.decoding import decode
from meshgen.engine.diffusion.drawing import Drawing, Member, Studio
from meshgen.engine.port import EngineError, Lora, Work
from tests.engine.pictures import far, pixels, work
from tests.engine.tiny_pipelines import FAMILIES
from tests.engine.tiny_studio import LORA, files, model, model_at, picture, pictures, studio, together, told

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ONE_LEVEL = 1
"""Of 255: as far as a picture may be from what it would be alone."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_follows_from_its_seed_alone(family: str) -> None:
    job = work(scheduler="" if family in ("sd3", "flux") else "k_euler_a", prompt="a red circle", negative_prompt="blue")
    first, again = picture(job, family), picture(job, family)
    assert first.shape == (32, 32, 3) and far(first, again) == 0
    (before, other), (same,), (longer,) = together(
        [
            replace(job, prompt="two squares", seeds=(1, 2)),
            job,
            replace(job, prompt="a house beside a lake " * 9, negative_prompt="", seeds=(7,)),
        ],
        family,
    )
    assert far(first, same) <= ONE_LEVEL, "a picture must not depend on what is drawn beside it"
    assert min(far(first, one) for one in (before, other, longer)) > 8


def test_prompts_count() -> None:
    (plain,) = pictures(work())
    for change in ({"prompt": "something else"}, {"negative_prompt": "blue squares"}, {"guidance_scale": 1.0}):
        assert far(plain, pictures(work(**change))[0]) > 0, change


def test_sides_are_as_asked() -> None:
    assert pictures(work(width=48, height=24))[0].shape == (24, 48, 3)
    with pytest.raises(EngineError, match="33x32: this model needs sides in steps of 2") as caught:
        told(work(width=33))
    assert caught.value.reason == "bad_input"


@pytest.mark.parametrize(
    "name", ["k_euler", "k_euler_a", "k_heun", "k_dpm_2", "k_dpmpp_2m_karras", "k_dpmpp_sde", "DDIM", "lcm", "PNDMScheduler"]
)
def test_schedulers_draw_and_count_the_jobs_own_steps(name: str) -> None:
    heard = told(work(scheduler=name))
    assert [fields["step"] for what, fields in heard if what == "progress"] == [1, 2, 3]
    assert heard[-1][0] == "picture"


def test_a_jobs_scheduler_is_gone_with_it() -> None:
    before = pictures(work())[0]
    other = pictures(work(scheduler="k_euler_a"))[0]
    assert far(before, other) > 0 and far(before, pictures(work())[0]) == 0


@pytest.mark.parametrize("name", ["k_nonsense", "k_dpm_fast", "DDIM_karras", "FlowMatchEulerDiscreteScheduler", "__init__"])
def test_other_schedulers_are_refused(name: str) -> None:
    with pytest.raises(EngineError, match="scheduler") as caught:
        told(work(scheduler=name))
    assert caught.value.reason == "bad_input"


def previews_of(job: Work, family: str = "sd1", place: Studio | None = None) -> list[dict[str, Any]]:
    return [fields for what, fields in told(job, family, place=place) if what == "preview"]


def test_previews_are_small_jpegs_that_go_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PREVIEW_GAP_S", 0)
    monkeypatch.setattr(watching, "PREVIEW_SHARE", 0)
    shown = previews_of(work(steps=5, preview_every=2, seeds=(1, 2)))
    assert [(fields["index"], fields["step"]) for fields in shown] == [(0, 2), (1, 2), (0, 4), (1, 4)]
    with Image.open(BytesIO(shown[0]["jpeg"])) as image:
        assert image.format == "JPEG" and max(image.size) <= 128


def test_previews_come_only_if_wanted_and_not_in_a_short_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PREVIEW_SHARE", 0)
    monkeypatch.setattr(watching, "PREVIEW_GAP_S", 3600)
    assert previews_of(work(steps=6, preview_every=1)) == []
    monkeypatch.setattr(watching, "PREVIEW_GAP_S", 0)
    assert previews_of(work(steps=6)) == []


def test_each_job_gets_the_previews_that_it_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PREVIEW_GAP_S", 0)
    monkeypatch.setattr(watching, "PREVIEW_SHARE", 0)
    shown: list[list[int]] = [[], [], []]

    def member(number: int, every: int) -> Member:
        def tell(what: str, **fields: Any) -> None:
            if what == "preview":
                shown[number].append(fields["step"])

        return Member(work(steps=7, preview_every=every), tell, lambda: False)

    studio().draw(model("sd1"), [member(0, 2), member(1, 3), member(2, 0)])
    assert shown == [[2, 4, 6], [3, 6], []]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_large_decoder_is_looked_through_once(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PREVIEW_GAP_S", 0)
    monkeypatch.setattr(watching, "PREVIEW_SHARE", 0)
    monkeypatch.setattr(previews, "SMALL_DECODER", 0)
    place, decoded = Studio("cpu", "auto", threads=1), []
    monkeypatch.setattr(previews, "decode", lambda pipe, latents: decoded.append(latents) or decode(pipe, latents))
    shown = previews_of(work(steps=6, preview_every=2, seeds=(1, 2)), family, place)
    assert len(shown) == 4 and len(decoded) == 1
    with Image.open(BytesIO(shown[0]["jpeg"])) as image:
        assert image.format == "JPEG" and image.size == (16, 16), "a pixel for each place of the latents"


def test_the_learnt_map_finds_colours() -> None:
    coarse = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    latents = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    colours = (latents[:, :3] * 40 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    previewer = previews.Previewer(studio().load(model("sd1")).pipe)
    previewer._decodes = False
    previewer.learn(latents, [Image.fromarray(one) for one in colours])
    with Image.open(BytesIO(previewer.jpegs(latents, (64, 64))[1])) as image:
        off = np.abs(np.asarray(image).astype(int) - colours[1]).mean()
    assert off < 6


@pytest.mark.parametrize("after", [0, 1, 2])
def test_cancelling_takes_a_step_at_most(after: int) -> None:
    heard = told(work(steps=50), cancelled=lambda heard: len(heard) >= after)
    assert [what for what, _ in heard] == ["progress"] * after
    assert pictures(work())


def test_the_cancelled_leave_the_others_alone() -> None:
    jobs, heard = [work(seeds=(1, 2)), work(seeds=(3,), prompt="a blue house")], ([], [])
    (expected,) = pictures(jobs[1])
    members = [
        Member(jobs[0], lambda what, **fields: heard[0].append(what), lambda: len(heard[0]) >= 2),
        Member(jobs[1], lambda what, **fields: heard[1].append((what, fields)), lambda: False),
    ]
    studio().draw(model("sd1"), members)
    assert heard[0] == ["progress"] * 2
    assert [what for what, _ in heard[1]] == ["progress"] * 3 + ["picture"]
    assert far(pixels(heard[1][-1][1]["png"]), expected) <= ONE_LEVEL


def test_stages_can_be_run_one_by_one() -> None:
    heard: list[str] = []
    member = Member(work(seeds=(1, 2, 3)), lambda what, **fields: heard.append(what), lambda: False)
    (drawing,) = studio().encode(model("sd1"), [member])
    assert heard == []
    for part in drawing.cut(2):
        part.denoise()
        assert "picture" not in heard[-3:]
        part.finish()
    assert heard == [*["progress"] * 3, "picture", "picture", *["progress"] * 3, "picture"]


def test_the_ends_of_two_batches_run_beside_a_thirds_middle() -> None:
    jobs = [work(seeds=(number,), prompt="a lake " * number, steps=6, loras=(Lora("one", LORA),)) for number in (1, 2, 20)]
    alone, found = [picture(job, files=files("sd1")) for job in jobs], [[], [], []]

    def encoded(number: int) -> Drawing:
        def tell(what: str, **fields: Any) -> None:
            if what == "picture":
                found[number].append(pixels(fields["png"]))

        (drawing,) = studio().encode(model("sd1"), [Member(jobs[number], tell, lambda: False)], files("sd1"))
        return drawing

    first, second = encoded(0), encoded(1)
    first.denoise()
    with ThreadPoolExecutor(2) as threads:
        done, third = threads.submit(first.finish), threads.submit(encoded, 2)
        second.denoise()
        done.result()
        third.result().denoise()
        third.result().finish()
    second.finish()
    assert [far(one, its) for one, (its,) in zip(alone, found, strict=True)] == [0, 0, 0]


def test_running_out_of_memory_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    (expected,) = pictures(work(seeds=(3,)))
    tried = scarce(monkeypatch, most=1)
    drawn = pictures(work(seeds=(1, 2, 3, 4)))
    assert tried == [4, 2, 1, 1, 1, 1]
    assert far(drawn[2], expected) <= ONE_LEVEL


def test_what_never_fits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = scarce(monkeypatch, most=0)
    with pytest.raises(EngineError, match="32x32 does not fit") as caught:
        told(work(), place=Studio("cpu", "auto", threads=1))
    assert caught.value.reason == "out_of_memory"
    assert tried == [1, 1], "the second time with the decoder in tiles"


def scarce(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Have memory run out above a batch of ``most``. Returns the batches' sizes, as they are tried."""
    tried, denoise = [], Drawing.denoise

    def poor(drawing: Drawing) -> None:
        tried.append(len(drawing))
        if len(drawing) > most:
            raise torch.OutOfMemoryError("too much")
        denoise(drawing)

    monkeypatch.setattr(Drawing, "denoise", poor)
    return tried


def test_a_model_that_can_t_be_loaded_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(model("sd1")["path"], tmp_path / "damaged")
    config = folder / "unet/config.json"
    config.write_text(config.read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 64'))
    with pytest.raises(EngineError, match="damaged can't be loaded") as caught:
        studio().load(model_at(folder))
    assert caught.value.reason == "bad_model"


@pytest.mark.parametrize("device", ["cuda:63", "tpu"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(EngineError, match=f"no device {device} here; set worker.device: auto") as caught:
        Studio(device, "auto")
    assert caught.value.reason == "unsupported"
