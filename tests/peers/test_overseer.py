"""The overseer: rules, demand and availability together."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.engine.port import AdapterInfo
from meshgen.ledger.standing import OWNER, STRANGER, Verdict
from meshgen.peers.overseer import Overseer
from meshgen.protocols.charter import Charter, CharterPolicies
from meshgen.settings import load_settings

CHARTER = Charter("ours")
ANYBODY, OWN_ACCOUNT = Verdict(True, "", STRANGER), Verdict(True, "", OWNER)


def overseer(**worker: object) -> Overseer:
    settings = load_settings(overrides={f"worker.{name}": value for name, value in worker.items()})
    engine: Any = FakeEngine([fake_model("a"), fake_model("b")], 0.0)
    engine.adapters = lambda: [AdapterInfo("lora", "x", bytes(32)), AdapterInfo("post", "y", bytes(32))]
    return Overseer(settings, CHARTER, engine, lambda: 1_000_000, lambda: None)


def heard(it: Overseer, author: bytes, model: str) -> None:
    it.heard(cast(Any, SimpleNamespace(author=author, message=SimpleNamespace(model=model, needs=()))))


def test_what_is_heard_decides_what_is_served() -> None:
    it = overseer(models=["TOP 1"])
    assert [model.name for model in it.models()] == ["a"]
    heard(it, b"alice", "b")
    heard(it, b"alice", "unknown here")
    assert [model.name for model in it.models()] == ["b"]
    assert it.state()["wanted"] == [{"model": "b", "requesters": 1}, {"model": "unknown here", "requesters": 1}]


def test_adapters_and_policies() -> None:
    it = overseer(declines=["lora"])
    assert [adapter.name for adapter in it.adapters()] == ["y"] and it.policies() == ("no-lora",)
    it.pause()
    assert it.policies() == ("paused", "no-lora")


def test_offers_are_refused_while_paused_and_by_friends_only() -> None:
    it = overseer(only_friends=True)
    no = it.no(ANYBODY)
    assert no is not None and no.reason == "policy" and it.no(OWN_ACCOUNT) is None
    it.pause(60_000)
    no = it.no(OWN_ACCOUNT)
    assert no is not None and (no.reason, no.limit) == ("paused", 60)
    it.resume()
    assert it.no(OWN_ACCOUNT) is None


def test_orders_that_break_a_rule_are_counted_and_their_words_are_not_shown() -> None:
    it = overseer(refuse_words=["zebra"], refuse_patterns=["ze?bras"])
    for prompt in ("a zebra", "two zebras", "a horse", "the Zebra"):
        it.no_order(SimpleNamespace(prompt=prompt), ANYBODY)
    no = it.no_order(SimpleNamespace(prompt="zebra"), ANYBODY)
    assert no is not None and no.reason == "policy"
    state = it.state()
    assert state["refused"] == {"word": 3, "pattern 1": 1}
    assert "zebra" not in json.dumps(state).lower() and state["rules"]["refuse_words"] == 1


def test_the_state_says_what_means_nothing() -> None:
    it = overseer(models=["a", "gone"])
    state = it.state()
    assert state["takes_work"] and state["notes"] == ["'gone' is not installed"] and state["models"] == ["a"]


def test_a_new_charter_changes_what_the_owner_left_open() -> None:
    it = overseer(refuse_words=["zebra"])
    strict = Charter("ours", policies=CharterPolicies(declines=("no-nsfw",)))
    it.follow(load_settings(), strict)
    assert it.policies() == ("no-nsfw",) and it.state()["rules"]["declines"] == ["nsfw"]
    assert it.no_order(SimpleNamespace(prompt="nude"), ANYBODY) is not None
    assert it.no_order(SimpleNamespace(prompt="nude"), OWN_ACCOUNT) is None


def test_texts_that_are_too_long_are_refused() -> None:
    it = overseer(max_tokens=100)
    fits, long = (cast(Any, SimpleNamespace(model="", tokens=tokens, nsfw=0)) for tokens in (100, 101))
    no = it.no_offer(long, ANYBODY)
    assert it.no_offer(fits, ANYBODY) is None and no is not None and (no.reason, no.limit) == ("too_many_steps", 100)
    it.pause()
    no = it.no_offer(long, ANYBODY)
    assert no is not None and no.reason == "paused"
