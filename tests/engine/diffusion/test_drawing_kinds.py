"""Every kind of picture work, in every family, through tiny pipelines: what must hold of the results."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np
import torch
from PIL import Image

from meshgen.engine.diffusion import passes
from meshgen.engine.diffusion.decoding import decode, upcasts
from meshgen.engine.diffusion.passes import composed
from meshgen.engine.diffusion.tiling import circular
from meshgen.engine.port import Control, EngineError
from tests.engine.pictures import SIDE, encoded, far, pixels, scene, square_mask, work
from tests.engine.tiny_pipelines import FAMILIES
from tests.engine.tiny_studio import CONTROL, files, model, picture, pictures, studio, together, told

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

SOURCE, MASK = encoded(scene()), encoded(square_mask())
INSIDE = np.asarray(square_mask()) > 0
KINDS: dict[str, dict[str, Any]] = {
    "img2img": {"source": SOURCE, "strength": 0.7},
    "inpainting": {"source": SOURCE, "mask": MASK, "strength": 0.9},
    "control": {"control": Control("canny", CONTROL, SOURCE)},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_the_same_alone_and_in_company(family: str, kind: str) -> None:
    job = work(steps=4, seeds=(7,), **KINDS[kind])
    others = [
        work(steps=4, prompt="two squares", seeds=(1, 2), **KINDS[kind]),
        work(steps=4, prompt="a lake " * 20, seeds=(7,), **KINDS[kind]),
    ]
    alone = picture(job, family, files(family))
    _, (same,), (other,) = together([others[0], job, others[1]], family, files(family))
    assert far(alone, same) <= 1 and far(alone, other) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_strength_says_how_much_of_the_source_goes(family: str) -> None:
    """Random weights make noise of it, but less noise when less is given up."""
    drawn = [picture(work(steps=8, source=SOURCE, strength=strength), family) for strength in (0.01, 0.5, 1.0)]
    assert far(drawn[0], drawn[1]) > 0 and far(drawn[1], drawn[2]) > 0
    assert far(drawn[1], picture(work(steps=8, source=encoded(scene().rotate(180)), strength=0.5), family)) > 8


@pytest.mark.parametrize("family", FAMILIES)
def test_outside_the_mask_nothing_changes(family: str) -> None:
    source = np.asarray(scene()).astype(int)
    for strength in (0.6, 1.0):
        drawn = picture(work(source=SOURCE, mask=MASK, strength=strength), family)
        assert far(drawn[~INSIDE], source[~INSIDE]) == 0 and far(drawn[INSIDE], source[INSIDE]) > 8


def test_a_transparent_border_is_painted() -> None:
    small = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    small.paste(scene(16), (8, 8))
    drawn = picture(work(source=encoded(small), strength=1.0))
    assert far(drawn[8:24, 8:24], np.asarray(scene(16)).astype(int)) == 0
    assert drawn[:8].std() > 8


def test_sources_of_any_size_and_shape_fit() -> None:
    wide = encoded(scene(64).resize((90, 45)), "JPEG")
    assert picture(work(source=wide, width=48, height=24)).shape == (24, 48, 3)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_has_its_limits(strength: float) -> None:
    with pytest.raises(EngineError, match=r"strength .*: it goes from 0 to 1"):
        told(work(source=SOURCE, strength=strength))


def test_one_bad_picture_is_an_error_for_its_batch() -> None:
    with pytest.raises(EngineError, match="the source picture can't be read") as caught:
        together([work(source=SOURCE), work(source=b"nothing")])
    assert caught.value.reason == "bad_input"


@pytest.mark.parametrize(("kind", "name"), [("img2img", "k_dpmpp_2m_karras"), ("img2img", "k_heun"), ("inpainting", "k_lms")])
def test_schedulers_start_from_pictures_too(kind: str, name: str) -> None:
    heard = told(work(scheduler=name, steps=5, strength=0.6, **{k: v for k, v in KINDS.get(kind, {}).items() if k != "strength"}))
    steps = [fields["step"] for what, fields in heard if what == "progress"]
    assert steps == sorted(set(steps)) and steps[-1] == 5 and heard[-1][0] == "picture"


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_tiling_is_gone_after_the_job(family: str) -> None:
    plain = picture(work(), family)
    assert far(plain, picture(work(tiling=True), family)) > 0
    assert far(plain, picture(work(), family)) == 0


def test_tiled_decoders_know_no_edges() -> None:
    """What is moved around the edge comes out as the same picture, moved."""
    pipe, latents = studio().load(model("sd1")).pipe, torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    moved = latents.roll((5, 3), (2, 3))
    with circular(pipe.unet, pipe.vae):
        first, second = (np.asarray(decode(pipe, one)[0]).astype(int) for one in (latents, moved))
    assert far(np.roll(first, (10, 6), (0, 1)), second) <= 1
    first, second = (np.asarray(decode(pipe, one)[0]).astype(int) for one in (latents, moved))
    assert far(np.roll(first, (10, 6), (0, 1)), second) > 8, "as it does otherwise"


def test_sdxls_decoder_computes_in_float32_where_float16_is_too_small() -> None:
    pipe, latents = studio().load(model("sdxl")).pipe, torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = np.asarray(decode(pipe, latents)[0]).astype(int)
    pipe.vae.to(dtype=torch.float16)
    try:
        found = np.asarray(decode(pipe, latents.half())[0]).astype(int)
        assert upcasts(pipe) and pipe.vae.dtype == torch.float16
    finally:
        pipe.vae.to(dtype=torch.float32)
    assert far(found, expected) <= 2


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_tiling_needs_convolutions(family: str) -> None:
    with pytest.raises(EngineError, match="tiling needs a model of the SD 1 or SDXL family"):
        told(work(tiling=True), family)


@pytest.mark.parametrize("family", FAMILIES)
def test_hires_fix_composes_small_and_counts_on(family: str) -> None:
    job = work(width=64, height=64, hires_fix=True, steps=5, seeds=(1, 2))
    heard = told(job, family)
    drawn = [pixels(fields["png"]) for what, fields in heard if what == "picture"]
    steps = [fields["step"] for what, fields in heard if what == "progress"]
    assert [one.shape for one in drawn] == [(64, 64, 3)] * 2 and steps == [1, 2, 3, 4, 5]
    assert far(drawn[0], pictures(work(width=64, height=64, steps=5), family)[0]) > 0


def test_compositions_keep_their_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = studio().load(model("sd1")).pipe
    sizes = {(64, 64): (32, 32), (128, 32): (64, 16), (32, 32): None, (34, 34): None}
    assert {size: composed(pipe, work(width=size[0], height=size[1], hires_fix=True)) for size in sizes} == sizes
    assert composed(pipe, work(width=64, height=64)) is None
    monkeypatch.setattr(passes, "own_side", lambda _: 512)
    assert composed(pipe, work(width=1024, height=768, hires_fix=True)) == (576, 448)


def test_a_map_can_be_all_that_is_wanted() -> None:
    job = work(control=Control("canny", b"", SOURCE, return_map=True), seeds=(1, 2))
    heard = told(job)
    maps = [pixels(fields["png"]) for what, fields in heard if what == "picture"]
    assert [what for what, _ in heard] == ["picture"] * 2, "nothing is drawn for it"
    assert set(np.unique(maps[0])) == {0, 255} and far(*maps) == 0
    given = told(work(control=Control("depth", b"", SOURCE, is_map=True, return_map=True)))
    assert far(pixels(given[0][1]["png"]), np.asarray(scene()).astype(int)) == 0
    with pytest.raises(EngineError, match="no depth map can be made here"):
        told(work(control=Control("depth", CONTROL, SOURCE)), files=files("sd1"))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_errors_hold_no_prompt(family: str) -> None:
    with pytest.raises(EngineError, match="the pipeline can't do 1001 steps with DDIMScheduler at 32x32") as caught:
        told(work(prompt="xylophonic", scheduler="DDIMScheduler", steps=1001), family)
    assert "xylophonic" not in str(caught.value)
