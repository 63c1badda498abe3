"""The owner's rules: what is offered, who and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from meshgen.engine.port import AdapterInfo, ModelInfo
from meshgen.ledger.standing import FRIEND, OWNER, STRANGER, Rank, Verdict
from meshgen.peers.rules import DECLINABLE, MAX_POLICIES, Rules, rules_of
from meshgen.protocols.charter import Charter, CharterPolicies
from meshgen.settings import load_settings

HASH = bytes(32)


@dataclass(frozen=True)
class Order:
    """As far as rules look at one."""

    prompt: str
    negative_prompt: str = ""


ANYBODY = Verdict(True, "", STRANGER)
FRIENDLY = Verdict(True, "", Rank(FRIEND, 0))
OWN_ACCOUNT = Verdict(True, "", OWNER)
PICTURES = ("txt2img", "img2img", "inpainting", "negative_prompt", "lora", "inversion", "controlnet", "tiling")
CHARTER = Charter("ours")


def model(name: str, family: str = "sd1") -> ModelInfo:
    return ModelInfo(name, name.encode().ljust(32, b"\0"), family, 512, 2**20, PICTURES if family != "alchemy" else ())


MODELS = [model("sd15"), model("xl", "sdxl"), model("smol", "text"), model("nsfw", "alchemy"), model("caption", "alchemy")]


def rules(charter: Charter = CHARTER, **worker: object) -> Rules:
    return rules_of(load_settings(overrides={f"worker.{name}": value for name, value in worker.items()}), charter)


def names(given: Rules) -> list[str]:
    return [found.name for found in given.served(MODELS, {})]


# -- what is offered


def test_all_is_offered_unless_the_owner_says_otherwise() -> None:
    assert [found.name for found in rules().served(MODELS, {})] == [found.name for found in MODELS]
    assert rules().served(MODELS, {})[0].features == PICTURES


@pytest.mark.parametrize(
    ("worker", "served"),
    [
        ({"models": ["xl"]}, ["xl", "nsfw", "caption"]),
        ({"models": ["TOP 1"], "forms": ["caption"]}, ["sd15", "caption"]),
        ({"models": ["ALL SDXL", "smol"], "declines": ["alchemy"]}, ["xl", "smol"]),
        ({"models_to_skip": ["sd15", "nsfw"]}, ["xl", "smol", "caption"]),
        ({"models": ["TOP 1"], "models_to_skip": ["sd15"], "forms": ["none"]}, ["xl"]),
        ({"declines": ["text", "alchemy"]}, ["sd15", "xl"]),
        ({"models": ["gone"], "forms": ["gone"]}, []),
    ],
)
def test_models_are_chosen(worker: dict[str, object], served: list[str]) -> None:
    assert names(rules(**worker)) == served


def test_demand_decides_who_is_top() -> None:
    found = rules(models=["TOP 1"], forms=["none"]).served(MODELS, {"smol": 3, "xl": 2})
    assert [model.name for model in found] == ["smol"]


@pytest.mark.parametrize(
    ("declined", "gone"),
    [
        ("img2img", {"img2img"}),
        ("inpainting", {"inpainting"}),
        ("controlnet", {"controlnet"}),
        ("lora", {"lora"}),
        ("inversion", {"inversion"}),
        ("post-processing", set()),
        ("nsfw", set()),
    ],
)
def test_what_is_declined_is_not_advertised(declined: str, gone: set[str]) -> None:
    given = rules(declines=[declined])
    assert set(PICTURES) - set(given.served(MODELS, {})[0].features) == gone
    kinds = {"lora": "lora", "inversion": "inversion", "controlnet": "controlnet"}  # post-processors: for forms
    adapters = [AdapterInfo(kind, kind, HASH) for kind in kinds.values()]
    left = [adapter.kind for adapter in given.adapters(adapters)]
    assert left == [kind for word, kind in kinds.items() if word != declined]


def test_policies_of_the_advert() -> None:
    charter = Charter("ours", policies=CharterPolicies(declines=("no-nsfw", "no-politics")))
    assert rules(charter).policies(charter, paused=False) == ("no-nsfw", "no-politics")
    own = rules(charter, declines=["lora"], only_friends=True)
    assert own.policies(charter, paused=True) == ("paused", "friends-only", "no-lora", "no-politics")
    assert rules(charter, declines=[]).policies(charter, paused=False) == ("no-politics",)
    many = Charter("ours", policies=CharterPolicies(declines=tuple(f"no-{letter}" for letter in "abcdefgh")))
    found = rules(declines=list(DECLINABLE)).policies(many, paused=True)
    assert len(found) == MAX_POLICIES and found[0] == "paused" and all(len(word) <= 24 for word in found)


def test_rules_that_mean_nothing_are_told() -> None:
    found = rules(models=["xl", "gone", "top", "ALL SFW MODELS"], models_to_skip=["away"]).notes(MODELS)
    assert len(found) == 3
    assert "say ALL, or TOP and a number" in found[0] and "no family 'SFW'" in found[1] and found[2] == "'gone' is not installed"


# -- who and what is refused


def test_only_friends() -> None:
    assert [rules(only_friends=True).judge_peer(verdict) for verdict in (ANYBODY, FRIENDLY, OWN_ACCOUNT)] == ["policy", "", ""]
    assert rules().judge_peer(ANYBODY) == ""


def test_a_prompt_is_judged_and_a_negative_prompt_is_not() -> None:
    given = rules(refuse_words=["clown"], refuse_patterns=[r"spi+der"])
    assert given.judge_order(Order("a Clown"), ANYBODY) == given.judge_order(Order("a Clown"), FRIENDLY) == "word"
    assert given.judge_order(Order("a spiiider"), ANYBODY) == "pattern 1"
    assert given.judge_order(Order("a fox", "clown, spider"), ANYBODY) == ""


def test_the_own_account_is_not_refused() -> None:
    assert rules(refuse_words=["clown"]).judge_order(Order("a clown"), OWN_ACCOUNT) == ""


def test_what_has_no_prompt_breaks_no_rule() -> None:
    assert rules(refuse_words=["clown"]).judge_order(object(), ANYBODY) == ""


def test_nsfw_is_declined_by_the_owner_or_the_charter() -> None:
    charter = Charter("ours", policies=CharterPolicies(declines=("no-nsfw",)))
    prompt = Order("a nude in the bath")
    assert rules().judge_order(prompt, ANYBODY) == ""
    assert rules(declines=["nsfw"]).judge_order(prompt, ANYBODY) == "word"
    assert rules(charter).judge_order(prompt, ANYBODY) == "word"
    assert rules(charter, declines=["lora"]).judge_order(prompt, ANYBODY) == ""
