"""`meshgen pause`, `resume`, `worker`, and what status says of a worker."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from tests.cli.conftest import Running
from tests.gateway.fake_overseer import FakeOverseer

Cli = Callable[..., Result]


@pytest.fixture
def overseer(running: Running) -> FakeOverseer:
    running.node.overseer = found = FakeOverseer()
    return found


def test_pause_and_resume(meshgen: Cli, overseer: FakeOverseer) -> None:
    text = meshgen("pause", "--for", "2h", "--why", "new fan").output
    assert re.search(r"takes no work: paused by the owner: new fan \(until \d{4}-\d\d-\d\d \d\d:\d\d\)", text)
    assert "1 job under way goes on to its end" in text
    assert "takes work" in meshgen("resume").output
    assert overseer.said == [("pause", 7_200_000, "new fan", False), ("resume",)]


def test_pause_now(meshgen: Cli, overseer: FakeOverseer) -> None:
    overseer.jobs = 2
    assert "2 jobs under way stop" in meshgen("pause", "--now").output
    assert overseer.said == [("pause", 0, "", True)]
    assert json.loads(meshgen("pause", "--json").stdout)["paused"]["until_ms"] == 0


def test_resume_says_what_else_is_in_the_way(meshgen: Cli, overseer: FakeOverseer) -> None:
    overseer.more = [{"code": "too_hot", "text": "temperature 90 of at most 80 degrees Celsius", "until_ms": 0}]
    assert "takes no work: temperature 90" in meshgen("resume").output


@pytest.mark.parametrize("words", [("pause", "--for", "soon"), ("pause", "--for", "0h"), ("pause", "2h"), ("resume", "now")])
def test_wrong_usage(meshgen: Cli, overseer: FakeOverseer, words: tuple[str, ...]) -> None:
    meshgen(*words, code=2)
    assert not overseer.said


def test_a_pause_that_is_too_long_and_a_node_without_worker(meshgen: Cli, overseer: FakeOverseer, running: Running) -> None:
    assert "for_s" in meshgen("pause", "--for", "99999w", code=1).stderr
    running.node.overseer = None
    for verb in ("pause", "resume", "worker"):
        assert "does no work for others" in meshgen(verb, code=1).stderr


def test_the_worker_is_shown(meshgen: Cli, overseer: FakeOverseer) -> None:
    text = meshgen("worker").output
    for words in (
        "takes work",
        "sd15",
        "flux by 3",
        "sdxl is not offered",
        "61 degrees",
        "2 by word",
        "'gone' is not installed",
        "1048576",
    ):
        assert words in text, words
    assert json.loads(meshgen("worker", "--json").stdout)["refused"] == {"word": 2}


WORKER: dict[str, Any] = {
    "device": "cuda",
    "device_name": "X",
    "vram_free_mib": 1,
    "vram_total_mib": 2,
    "pictures": 3,
    "queued": 0,
}
WORKER |= {"failed": 0, "unpaid": 0, "models": ["sd15"], "takes_work": False, "troubles": ["sdxl is not offered"]}
WORKER |= {
    "reasons": [{"code": "paused", "text": "paused by the owner", "until_ms": 0}, {"code": "engine", "text": "cuda:0 is gone"}]
}


def test_status_says_why_a_worker_takes_nothing(meshgen: Cli, running: Running) -> None:
    before = running.node.status()
    running.node.status = lambda: before | {"roles": ["worker"], "worker": WORKER}  # type: ignore[method-assign]
    text = meshgen("status").output
    assert "takes no work: paused by the owner; cuda:0 is gone" in text and "sdxl is not offered" in text
    running.node.status = lambda: before | {"roles": ["worker"], "worker": None}  # type: ignore[method-assign]
    assert "takes no work: this node has no engine" in meshgen("status").output
    running.node.status = lambda: before  # type: ignore[method-assign]
    assert "takes no work" not in meshgen("status").output


def test_the_doctor_tells_rest_from_trouble(meshgen: Cli, running: Running) -> None:
    before = running.node.status()
    running.node.status = lambda: before | {"worker": WORKER}  # type: ignore[method-assign]
    found = json.loads(meshgen("doctor", "--json", code=1).stdout)
    rows = [(row["level"], row["text"], row["cure"]) for row in found["findings"] if row["name"] == "worker"]
    assert rows[0] == ("note", "takes no work: paused by the owner", "take work again with: meshgen resume")
    assert rows[1][:2] == ("fault", "takes no work: cuda:0 is gone") and rows[1][2]
