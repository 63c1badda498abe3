"""AI Horde's words for what does not fit, as its server has them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshgen.gateway.horde.bodies import SAMPLERS, FormsBody, HordeBody, ImageBody, RatingsBody, TextBody, horde_faults
from tests.gateway.fake_node import SECRET


def faults_of(body: type[HordeBody], given: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        body.model_validate(given)
    return horde_faults(caught.value.errors())


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"width": 500}, {"params.width": "500 is not a multiple of 64"}),
        ({"height": 4096}, {"params.height": "4096 is greater than the maximum of 3072"}),
        ({"steps": 0}, {"params.steps": "0 is less than the minimum of 1"}),
        ({"steps": "9"}, {"params.steps": "'9' is not of type 'integer'"}),
        ({"steps": True}, {"params.steps": "True is not of type 'integer'"}),
        ({"denoising_strength": 0}, {"params.denoising_strength": "0 is less than the minimum of 0.01"}),
        ({"karras": 1}, {"params.karras": "1 is not of type 'boolean'"}),
        ({"sampler_name": "nope"}, {"params.sampler_name": f"'nope' is not one of {list(SAMPLERS)}"}),
        ({"loras": {}}, {"params.loras": "{} is not of type 'array'"}),
        ({"loras": [{}]}, {"params.loras.0.name": "'name' is a required property"}),
        ({"loras": [{"name": "x", "model": 9}]}, {"params.loras.0.model": "9 is greater than the maximum of 5"}),
        ({"tis": [{"name": ""}]}, {"params.tis.0.name": "'' should be non-empty"}),
        (
            {"post_processing": ["GFPGAN", "GFPGAN"]},
            {"params.post_processing": "['GFPGAN', 'GFPGAN'] has non-unique elements"},
        ),
        (7, {"params": "7 is not of type 'object'"}),
        (
            {"n": 21, "clip_skip": 0},
            {"params.n": "21 is greater than the maximum of 20", "params.clip_skip": "0 is less than the minimum of 1"},
        ),
    ],
)
def test_faults_of_params(params: object, fault: dict[str, str]) -> None:
    assert faults_of(ImageBody, {"prompt": "x", "params": params}) == fault


def test_faults_beside_params() -> None:
    assert faults_of(ImageBody, {}) == {"prompt": "'prompt' is a required property"}
    assert faults_of(ImageBody, {"prompt": ""}) == {"prompt": "'' should be non-empty"}
    assert faults_of(ImageBody, {"prompt": "x", "webhook": "x"}) == {"webhook": "'x' is too short"}
    assert faults_of(ImageBody, {"prompt": "x", "workers": ["a"] * 6})["workers"].endswith("is too long")
    assert faults_of(TextBody, {"params": {"max_length": 3}}) == {"params.max_length": "3 is less than the minimum of 16"}
    assert faults_of(FormsBody, {"forms": [{"name": "shave"}]})["forms.0.name"].startswith("'shave' is not one of ['caption', ")
    assert faults_of(RatingsBody, {"ratings": [{"id": "x", "rating": 1}]}) == {"ratings.0.id": "'x' is too short"}
    assert faults_of(ImageBody, {"prompt": "x", "params": {"cfg_scale": 10**400}})["params.cfg_scale"].endswith("'number'")


@pytest.mark.parametrize(
    "given", [{"prompt": [SECRET]}, {"prompt": SECRET * 9999}, {"prompt": "x", "source_image": {"a": SECRET}}]
)
def test_a_message_repeats_no_prompt_and_no_picture(given: dict[str, Any]) -> None:
    (message,) = faults_of(ImageBody, given).values()
    assert SECRET not in message and message.startswith("this value is")


@pytest.mark.parametrize(
    "given", [SECRET, f'{{"prompt": "{SECRET}"}}'.encode(), [{"prompt": SECRET}], {"params": {"extra_texts": SECRET}}]
)
def test_nor_a_body_that_is_none(given: Any) -> None:
    """A client that forgets to say that it sends JSON is read as if it sent plain bytes."""
    assert SECRET not in str(faults_of(ImageBody, given))


def test_long_values_are_cut() -> None:
    (message,) = faults_of(ImageBody, {"prompt": "x", "params": {"sampler_name": "k" * 9000}}).values()
    assert len(message) < 500


def test_what_clients_send_besides_is_passed_over() -> None:
    body = ImageBody.model_validate({"prompt": "x", "client": "y", "params": {"toggles": [1], "ddim_steps": 3}})
    assert (body.params.steps, body.params.width, body.params.sampler_name) == (30, 512, "k_euler_a")
    assert (body.r2, body.slow_workers, body.source_processing) == (True, True, "img2img")
