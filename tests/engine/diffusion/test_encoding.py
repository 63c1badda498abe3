"""Prompts as states: as diffusers makes them where it can, and beyond that weights, chunks, skipped layers, inversions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch

from meshgen.engine.diffusion.encoding import MAX_CHUNKS, Row, TextEncoders
from meshgen.engine.diffusion.inversions import Vectors, read_vectors
from meshgen.engine.port import EngineError, Inversion
from tests.engine.pictures import work
from tests.engine.tiny_pipelines import FAMILIES, WIDTH, save_tiny_inversion, save_tiny_sd3
from tests.engine.tiny_studio import model, model_at, studio

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]


def row(
    prompt: str, negative: str = "", family: str = "sd1", vectors: dict[Inversion, Vectors] | None = None, **changes: Any
) -> Row:
    return TextEncoders(studio().load(model(family)).pipe, "cpu", work(**changes), vectors or {}).row(prompt, negative)


def prompt_of(found: Row) -> torch.Tensor:
    return found["prompt_embeds"]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, atol=1e-5)


def by_diffusers(pipe: Any, family: str, prompt: str, negative: str, **options: Any) -> Row:
    """The same names, from the pipeline's own method."""
    if family == "sd1":
        found = pipe.encode_prompt(prompt, "cpu", 1, True, negative, **options)
        return dict(zip(("prompt_embeds", "negative_prompt_embeds"), found, strict=True))
    if family == "flux":
        found = pipe.encode_prompt(prompt, None, "cpu")[:2]
        return dict(zip(("prompt_embeds", "pooled_prompt_embeds"), found, strict=True))
    others = (None,) if family == "sdxl" else (None, None)
    found = pipe.encode_prompt(prompt, *others, "cpu", negative_prompt=negative, **options)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_prompts_are_encoded_as_diffusers_does(family: str) -> None:
    with torch.no_grad():
        expected = by_diffusers(studio().load(model(family)).pipe, family, "A red, round circle!", "Blue")
    found = row("A red, round circle!", "Blue", family)
    assert found.keys() == expected.keys()
    assert [name for name in found if not same(found[name], expected[name])] == []


def test_sd3_does_without_its_largest_encoder(tmp_path: Path) -> None:
    pipe = studio().load(model_at(save_tiny_sd3(tmp_path, t5=False))).pipe
    with torch.no_grad():
        expected = by_diffusers(pipe, "sd3", "a red circle", "")
    found = TextEncoders(pipe, "cpu", work(), {}).row("a red circle", "")
    assert same(found["prompt_embeds"], expected["prompt_embeds"])


@pytest.mark.parametrize(("family", "layer"), [("sd1", "normed"), ("sdxl", "plain")])
def test_clip_skip_counts_from_the_last_layer(family: str, layer: str) -> None:
    """SDXL was trained on the last layer but one: 1 and 2 are both that."""
    first, second = (prompt_of(row("a red circle", family=family, clip_skip=skip)) for skip in (1, 2))
    assert same(first, second) == (family == "sdxl")
    pipe = studio().load(model(family)).pipe
    ids = pipe.tokenizer("a red circle", padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        expected = pipe.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
        if layer == "normed":
            expected = getattr(pipe.text_encoder, "text_model", pipe.text_encoder).final_layer_norm(expected)
    assert same(second[..., :WIDTH], expected)


@pytest.mark.parametrize("skip", [0, 3])
def test_more_than_all_layers_can_t_be_skipped(skip: int) -> None:
    with pytest.raises(EngineError, match=f"clip_skip {skip}: this model's text encoder has 2 layers") as caught:
        row("a", clip_skip=skip)
    assert caught.value.reason == "bad_input"


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3"])
def test_long_prompts_go_on_in_chunks(family: str) -> None:
    """A letter is a token here: 75 fit into one."""
    short, full, long = (row("a " * count, "b", family) for count in (60, 75, 76))
    assert short["prompt_embeds"].shape == full["prompt_embeds"].shape == full["negative_prompt_embeds"].shape
    assert long["prompt_embeds"].shape[1] == short["prompt_embeds"].shape[1] + 77
    assert long["prompt_embeds"].shape == long["negative_prompt_embeds"].shape, "the shorter one is filled up"
    assert not same(prompt_of(long), prompt_of(row("a " * 75 + "b", family=family)))
    if family == "sd1":
        assert prompt_of(row("a " * 5000)).shape[1] == MAX_CHUNKS * 77
        assert same(prompt_of(long)[:, :77], prompt_of(full))


def test_weights_move_a_words_states_from_those_of_an_empty_prompt() -> None:
    plain, empty = prompt_of(row("a red circle")), prompt_of(row(""))
    heavy = prompt_of(row("a (red:1.5) circle"))
    red = slice(2, 5)
    assert same(heavy[:, red], empty[:, red] + 1.5 * (plain[:, red] - empty[:, red]))
    assert same(heavy[:, :2], plain[:, :2]) and same(heavy[:, 5:], plain[:, 5:])
    assert same(prompt_of(row("a (red:1.0) circle")), plain)
    assert same(prompt_of(row(r"\(a\)")), prompt_of(row(r"(\(a\):1)")))


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
def test_all_encoders_hear_weights_and_no_brackets(family: str) -> None:
    plain, heavy, no_weight = (
        prompt_of(row(text, family=family)) for text in ("red circle", "(red:1.5) circle", "(red:1) circle")
    )
    assert same(plain, no_weight) and not same(plain, heavy)


def test_without_guidance_nothing_is_said_against() -> None:
    assert "negative_prompt_embeds" not in row("a", "b", guidance_scale=1.0)
    assert not any(name.startswith("negative") for name in row("a", "b", family="flux"))


@pytest.fixture(scope="module")
def inversion(tmp_path_factory: pytest.TempPathFactory) -> Vectors:
    return read_vectors(save_tiny_inversion(tmp_path_factory.mktemp("ti") / "it.safetensors", {"emb_params": WIDTH}), "it")


def test_an_inversions_name_stands_for_its_vectors(inversion: Vectors) -> None:
    it = Inversion("My-Style.2", bytes(32))
    plain = prompt_of(row("a my-style.2 circle"))
    named, called = (
        prompt_of(row(f"a {text} circle", vectors={it: inversion})) for text in ("my-style.2", "embedding:My-Style.2")
    )
    assert same(named, called) and not same(named, plain)
    assert same(prompt_of(row("a my-style.2 circle")), plain), "nothing stays in the model"
    inside = prompt_of(row("a my-style.22 circle", vectors={it: inversion}))
    assert same(inside, prompt_of(row("a my-style.22 circle"))), "only the whole word"


def test_an_inversion_is_put_where_the_job_says(inversion: Vectors) -> None:
    found = {
        place: row("a circle", "b", vectors={Inversion("it", bytes(32), place): inversion})
        for place in ("", "prompt", "negative_prompt")
    }
    plain = row("a circle", "b")
    for place, name in (("prompt", "prompt_embeds"), ("negative_prompt", "negative_prompt_embeds")):
        other = ({"prompt_embeds", "negative_prompt_embeds"} - {name}).pop()
        assert not same(found[place][name], plain[name]) and same(found[place][other], plain[other])
    assert same(found[""]["prompt_embeds"], plain["prompt_embeds"])
    weak = row("a circle", "b", vectors={Inversion("it", bytes(32), "prompt", 0.5): inversion})
    assert not same(weak["prompt_embeds"], found["prompt"]["prompt_embeds"])


def test_characters_that_stand_for_inversions_can_t_be_smuggled_in(inversion: Vectors) -> None:
    it = {Inversion("it", bytes(32)): inversion}
    assert same(prompt_of(row("a \ue000 b", vectors=it)), prompt_of(row("a  b")))
    assert same(prompt_of(row("a \ue007 b", vectors=it)), prompt_of(row("a  b")))
