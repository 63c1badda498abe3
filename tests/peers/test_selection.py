"""Models by name, family and demand; and how demand is counted."""

from __future__ import annotations

import pytest

from meshgen.engine.port import ModelInfo
from meshgen.peers.demand import BUCKET_MS, BUCKETS, MAX_PAIRS, Demand
from meshgen.peers.selection import select, select_forms, selector_fault

BOTH = ("txt2img", "img2img", "inpainting")


def model(name: str, family: str = "sd1", features: tuple[str, ...] = BOTH) -> ModelInfo:
    return ModelInfo(name, name.encode().ljust(32, b"\0"), family, 512, 2**20, features)


MODELS = [model("a"), model("b", "sdxl"), model("c", "sdxl"), model("d", "flux"), model("e", features=("inpainting",))]
DEMAND = {"a": 1, "b": 5, "c": 3, "stranger": 99}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("all",), "abcde"),
        (("ALL MODELS",), "abcde"),
        (("TOP 2",), "bc"),
        (("top 1", "d"), "bd"),
        (("top 99",), "abcde"),
        (("bottom 2",), "de"),
        (("bottom 99 models",), "abcde"),
        (("ALL SDXL",), "bc"),
        (("all sdxl models",), "bc"),
        (("ALL SD15 MODELS",), "ae"),
        (("top 1 sdxl",), "b"),
        (("all inpainting models",), "e"),
        (("c", "a"), "ac"),
        (("nothing",), ""),
        (("top 0",), ""),
        (("bottom 0",), ""),
        (("top",), ""),
        (("ALL SFW MODELS",), ""),
        ((), ""),
    ],
)
def test_selectors(words: tuple[str, ...], names: str) -> None:
    assert "".join(found.name for found in select(MODELS, words, DEMAND)) == names


def test_a_model_may_be_called_like_a_selector() -> None:
    odd = [model("top 1"), model("x")]
    assert [found.name for found in select(odd, ("top 1",), {"x": 9})] == ["top 1"]


def test_without_demand_the_first_are_the_top() -> None:
    assert [found.name for found in select(MODELS, ("top 2",), {})] == ["a", "b"]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("top", "say ALL, or TOP and a number"),
        ("all 3", "say ALL, or TOP and a number"),
        ("ALL SFW MODELS", "no family 'SFW'; there are SD1"),
        ("top 3 anime", "no family 'anime'"),
        ("all", ""),
        ("Deliberate", ""),
        ("all models", ""),
        ("topless", ""),
    ],
)
def test_selectors_that_mean_nothing_are_told(word: str, says: str) -> None:
    assert says in selector_fault(word) and bool(says) == bool(selector_fault(word))


def test_forms() -> None:
    forms = [model(name, "alchemy", ()) for name in ("nsfw", "caption", "RealESRGAN_x4plus", "strip_background")]

    def names(*words: str) -> list[str]:
        return [form.name for form in select_forms(forms, words)]

    assert names("all") == [form.name for form in forms]
    assert names("nsfw", "Caption") == ["nsfw", "caption"]
    assert names("post-process") == ["RealESRGAN_x4plus", "strip_background"]
    assert names("strip_background", "tea") == ["strip_background"]


def test_demand_counts_requesters_and_forgets() -> None:
    now = [0]
    demand = Demand(lambda: now[0])
    for author in (b"alice", b"bob", b"alice"):
        demand.heard(author, "sdxl")
    demand.heard(b"alice", "sd15")
    assert demand.counts() == {"sdxl": 2, "sd15": 1}
    now[0] = BUCKET_MS
    demand.heard(b"alice", "sdxl")
    assert demand.counts()["sdxl"] == 3  # she still wants it
    now[0] = BUCKETS * BUCKET_MS
    assert demand.counts() == {"sdxl": 1}
    now[0] *= 2
    assert demand.counts() == {}


def test_a_flood_of_keys_fills_one_bucket_only() -> None:
    now = [0]
    demand = Demand(lambda: now[0])
    for number in range(2 * MAX_PAIRS):
        demand.heard(number.to_bytes(4), "flooded")
    assert demand.counts() == {"flooded": MAX_PAIRS}
    now[0] = BUCKET_MS
    demand.heard(b"alice", "sdxl")
    assert demand.counts()["sdxl"] == 1
