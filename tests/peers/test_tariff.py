"""Prices: in AI Horde's range, whole, and what sharing does to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.peers.tariff import ImageWork, alchemy_mkudos, image_mkudos, offer_mkudos, scaled, text_mkudos
from meshgen.protocols.advert import ModelAdvert
from meshgen.protocols.charter import Tariff
from meshgen.protocols.offer import Need, Offer
from meshgen.protocols.record import MAX_MKUDOS
from tests.conformance.samples import SAMPLES

OFFER: Any = replace(SAMPLES[Offer], needs=())  # type: ignore[type-var]
HALF_K = {"width": 512, "height": 512, "steps": 50}
ONE_K = {"width": 1024, "height": 1024}
QUOTED: list[tuple[str, ImageWork, int]] = [
    ("512x512, 50 steps", ImageWork(**HALF_K), 13),
    ("20 steps", ImageWork(512, 512, 20), 8),
    ("100 steps", ImageWork(512, 512, 100), 21),
    ("768x768", ImageWork(768, 768, 50), 18),
    ("1024x1024, 30 steps", ImageWork(**ONE_K, steps=30), 23),
    ("1024x1024, 50 steps", ImageWork(**ONE_K, steps=50), 31),
    ("2048x2048", ImageWork(2048, 2048, 50), 147),
    ("a face restored", ImageWork(**HALF_K, post_processors=1), 14),
    ("upscaled four times", ImageWork(**HALF_K, post_processors=1, enlarge=4), 19),
    ("a face restored, upscaled four times", ImageWork(**HALF_K, post_processors=2, enlarge=4), 27),
    ("background stripped", ImageWork(**HALF_K, post_processors=1), 15),
    ("one LoRA", ImageWork(**HALF_K, loras=1), 16),
    ("three LoRAs", ImageWork(**HALF_K, loras=3), 22),
    ("two inversions", ImageWork(**HALF_K, inversions=True), 14),
    ("img2img", ImageWork(**HALF_K, source=True), 14),
    ("inpainting", ImageWork(**HALF_K, source=True), 18),
    ("ControlNet", ImageWork(**HALF_K, controlnet=True), 19),
    ("hires fix, 1024x1024", ImageWork(**ONE_K, steps=50, hires_fix=True), 40),
    ("shared", ImageWork(**HALF_K, shared=True), 13),
    ("SDXL", ImageWork(**ONE_K, steps=30, family="sdxl"), 44),
    ("Flux", ImageWork(**ONE_K, steps=4, family="flux"), 91),
]
"""Kudos that an AI Horde server of 2026 asked by dry run, its own two of tax and request included."""


@pytest.mark.parametrize(("name", "work", "quoted"), QUOTED, ids=[name for name, _, _ in QUOTED])
def test_pictures_cost_what_ai_horde_asks_within_a_quarter(name: str, work: ImageWork, quoted: int) -> None:
    assert 0.75 < image_mkudos(work) / 1000 / quoted < 1.25


@pytest.mark.parametrize(("tokens", "context", "quoted"), [(80, 1024, 4), (80, 2048, 5), (200, 4096, 14), (512, 8192, 63)])
def test_text_costs_what_ai_horde_asks_within_a_tenth(tokens: int, context: int, quoted: int) -> None:
    assert 0.9 < text_mkudos(tokens, 1000, context) / 1000 / quoted < 1.1


def test_alchemy() -> None:
    assert [alchemy_mkudos(form) for form in ("plain", "interrogation", "upscale")] == [2000, 4000, 4000]
    assert [alchemy_mkudos("upscale", pixels) for pixels in (2048**2, 2048**2 + 1)] == [4000, 7000]


def test_hires_fix_costs_its_two_passes() -> None:
    free = Tariff(surcharge_mkudos=0, shared_mkudos=0, overhead_steps=0)
    small, full = (image_mkudos(ImageWork(side, side, steps), free) for side, steps in ((512, 50), (1024, 30)))
    assert image_mkudos(ImageWork(**ONE_K, steps=50, hires_fix=True), free) in (small + full, small + full - 1)  # rounded once


@pytest.mark.parametrize(
    "work",
    [
        ImageWork(512, 512, 50),
        ImageWork(560, 560, 50),
        ImageWork(1024, 1024, 50, "sdxl"),
        ImageWork(2048, 2048, 50, "other"),
        ImageWork(2048, 2048, 50, source=True),
    ],
)
def test_hires_fix_costs_nothing_where_it_does_nothing(work: ImageWork) -> None:
    assert image_mkudos(replace(work, hires_fix=True)) == image_mkudos(work)


def test_enlarging_costs_by_what_comes_out() -> None:
    plain = image_mkudos(ImageWork(512, 512, 20, post_processors=1))
    grown = [image_mkudos(ImageWork(512, 512, 20, post_processors=1, enlarge=times)) - plain for times in (1, 2, 4, 8, 16)]
    assert grown == [0, 3000, 3000, 12_000, 48_000]


works = st.builds(
    ImageWork,
    width=st.integers(8, 8192),
    height=st.integers(8, 8192),
    steps=st.integers(1, 1000),
    family=st.sampled_from(["sd1", "sdxl", "sd3", "flux", "other"]),
    shared=st.booleans(),
    source=st.booleans(),
    controlnet=st.booleans(),
    post_processors=st.integers(0, 4),
    loras=st.integers(0, 5),
    inversions=st.booleans(),
    hires_fix=st.booleans(),
    enlarge=st.integers(1, 16),
)


@given(works)
def test_sharing_takes_two_kudos_off_unless_the_picture_comes_from_another_one(work: ImageWork) -> None:
    open_, own = image_mkudos(replace(work, shared=True)), image_mkudos(replace(work, shared=False))
    assert own - open_ == (0 if work.source or work.controlnet else 2000)


@given(works)
def test_more_work_never_costs_less(work: ImageWork) -> None:
    """Shared or not aside: ControlNet ends that."""
    price = image_mkudos(work)
    assert type(price) is int and 1000 < price <= MAX_MKUDOS
    more_of_it = ("width", "height", "steps", "post_processors", "loras", "enlarge")
    for more in (*({name: getattr(work, name) + 1} for name in more_of_it), {"controlnet": True}, {"inversions": True}):
        assert image_mkudos(replace(work, **more)) >= price


@given(works, st.integers(1, 10**6), st.integers(0, 32))
def test_the_dearest_tariff_stays_within_an_amount(work: ImageWork, step: int, eighths: int) -> None:
    tariff = Tariff(step_mkudos=step, area_permille=10**6, area_exponent_permille=125 * eighths)
    assert 0 < scaled(image_mkudos(work, tariff), 1_000_000) <= MAX_MKUDOS


def test_an_offers_price_is_its_pictures() -> None:
    assert offer_mkudos(OFFER) == image_mkudos(ImageWork(64, 64, 20)) == 7000
    assert offer_mkudos(replace(OFFER, shared=1)) == 5000
    assert offer_mkudos(replace(OFFER, features=("controlnet",))) == image_mkudos(ImageWork(64, 64, 20, controlnet=True)) == 8200
    assert offer_mkudos(OFFER, Tariff(surcharge_mkudos=0, shared_mkudos=0)) == 4000


@pytest.mark.parametrize("feature", ["img2img", "inpainting", "outpainting", "controlnet"])
def test_what_comes_from_somebodys_picture_is_not_cheaper_for_being_shared(feature: str) -> None:
    offer = replace(OFFER, features=(feature,))
    assert offer_mkudos(replace(offer, shared=1)) == offer_mkudos(offer)


def test_an_offer_with_hires_fix_says_so_among_its_features() -> None:
    offer = replace(OFFER, family="sd1", width=1024, height=1024, features=("hires_fix",))
    assert offer_mkudos(offer) == image_mkudos(ImageWork(**ONE_K, steps=20, hires_fix=True))
    assert offer_mkudos(replace(offer, features=("hires_fix", "img2img"))) == image_mkudos(
        ImageWork(**ONE_K, steps=20, source=True)
    )


def test_what_an_offer_needs_beside_has_its_price() -> None:
    kinds = ("lora", "lora", "inversion", "inversion", "post")
    offer = replace(OFFER, needs=tuple(Need(kind, bytes([place] * 32)) for place, kind in enumerate(kinds)))
    work = ImageWork(64, 64, 20, loras=2, inversions=True, post_processors=1)
    assert offer_mkudos(offer) == image_mkudos(work) > offer_mkudos(OFFER) + 2 * 3000


def test_texts_and_forms_have_theirs() -> None:
    text = replace(OFFER, family="text", width=0, height=0, steps=0, tokens=80)
    model = ModelAdvert("smollm2", bytes(32), "text", 8, 1, (), 0, millions=135, context=2048)
    assert offer_mkudos(text, model=model) == text_mkudos(80, 135, 2048)
    assert offer_mkudos(replace(text, context=512), model=model) == text_mkudos(80, 135, 512)
    form = replace(OFFER, family="alchemy", steps=0, width=1024, height=512)
    assert [offer_mkudos(replace(form, model=name)) for name in ("caption", "GFPGAN", "interrogation")] == [2000, 2000, 4000]
    assert offer_mkudos(replace(form, model="RealESRGAN_x4plus", enlarge=4)) == alchemy_mkudos("upscale", 4096 * 2048) == 7000


def test_a_workers_own_price() -> None:
    assert [scaled(7001, permille) for permille in (0, 1, 500, 1000, 2500)] == [0, 8, 3501, 7001, 17503]
