"""Which tokens are chosen: by the same filters as transformers has, from each row's own seed."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from meshgen.engine.port import TextWork
from meshgen.engine.text.sampling import Sampler, filtered

pytestmark = pytest.mark.torch
VOCABULARY = 50


def work(**changes: Any) -> TextWork:
    return TextWork(**{"model": "tiny", "prompt": "", "max_tokens": 1, "seeds": (1,), **changes})


def scores(rows: int = 4) -> torch.Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(5)) * 3


@pytest.mark.parametrize("top_k", [0, 7, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.8, 0.01])
@pytest.mark.parametrize("min_p", [0.0, 0.2])
def test_filters_are_those_of_transformers(top_k: int, top_p: float, min_p: float) -> None:
    stock = LogitsProcessorList([TemperatureLogitsWarper(0.7)])
    stock += [TopKLogitsWarper(top_k)] if top_k else []
    stock += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    stock += [MinPLogitsWarper(min_p)] if min_p else []
    expected = stock(torch.zeros(4, 0, dtype=torch.long), scores()).softmax(-1)
    chances, ids = filtered(scores(), work(temperature=0.7, top_k=top_k, top_p=top_p, min_p=min_p))
    found = chances if ids is None else torch.zeros(4, VOCABULARY).scatter(1, ids, chances)
    assert torch.allclose(found / found.sum(-1, keepdim=True), expected, atol=1e-6)


def test_repetition_is_penalized_as_in_transformers() -> None:
    seen = [3, 4, 9]
    expected = RepetitionPenaltyLogitsProcessor(1.5)(torch.tensor([seen] * 4), scores())
    sampler = Sampler(work(temperature=0, repetition_penalty=1.5), [1, 2, 3, 4], seen, VOCABULARY, "cpu")
    assert torch.equal(sampler.choose(scores()), expected.argmax(-1))
    first = expected.argmax(-1)
    again = RepetitionPenaltyLogitsProcessor(1.5)(torch.cat([torch.tensor([seen] * 4), first[:, None]], 1), scores())
    assert torch.equal(sampler.choose(scores()), again.argmax(-1)), "what has been chosen counts too"


@pytest.mark.parametrize("change", [{"temperature": 0}, {"temperature": 1e-30}, {"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
def test_what_leaves_one_token_takes_the_likeliest(change: dict[str, Any]) -> None:
    sampler = Sampler(work(**change), [1, 2, 3, 4], [], VOCABULARY, "cpu")
    assert torch.equal(sampler.choose(scores()), scores().argmax(-1))


def test_tokens_come_with_their_chances() -> None:
    chances, rows = torch.tensor([0.5, 0.3, 0.15, 0.05]), 4000
    sampler = Sampler(work(temperature=1.0), range(rows), [], 4, "cpu")
    found = torch.bincount(sampler.choose(chances.log().expand(rows, -1)), minlength=4) / rows
    assert torch.allclose(found, chances, atol=0.03), f"{found}, seeds 0 to {rows}"


@pytest.mark.parametrize("change", [{}, {"top_k": 20, "min_p": 0.01}, {"top_p": 0.9, "repetition_penalty": 1.3}])
def test_a_row_is_the_same_whatever_is_beside_it(change: dict[str, Any]) -> None:
    job, seeds, logits = work(temperature=1.5, **change), [7, 8, 9], scores(3)
    together, alone = Sampler(job, seeds, [1], VOCABULARY, "cpu"), Sampler(job, seeds[1:2], [1], VOCABULARY, "cpu")
    rows = [1]
    for step in range(8):
        many, one = together.choose(logits if step < 4 else logits[1:]), alone.choose(logits[1:2])
        assert many[rows[0]] == one[0]
        if step == 3:
            together.keep([1, 2])
            rows = [0]
