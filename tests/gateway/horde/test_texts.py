"""Texts as AI Horde's clients ask for them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from meshgen.gateway.horde.bodies import TextParams
from meshgen.gateway.horde.names import uuid_of
from meshgen.gateway.horde.texts import Finish
from tests.gateway.fake_node import BOB, SECRET
from tests.gateway.horde.asked import AskingNode, ask, finish, shown, taken


@pytest.fixture
def node() -> AskingNode:
    return AskingNode()


async def test_a_text_from_its_prompt_to_its_end(api: httpx.AsyncClient, node: AskingNode) -> None:
    params: dict[str, Any] = {"max_length": 40, "max_context_length": 1024, "temperature": 0.5, "top_p": 0.9, "top_k": 40}
    params |= {"min_p": 0.1, "rep_pen": 1.1, "n": 2, "stop_sequence": ["\n\n", "You:"]}
    answer = await ask(api, "/generate/text", prompt=SECRET, params=params, models=["unknown", "tiny"])
    assert (answer.status_code, answer.json()["kudos"]) == (202, 22.0) and "warnings" not in answer.json()
    (request,) = node.asked
    assert (request.prompt, request.model, request.tokens, request.context, request.count) == (SECRET, "tiny", 40, 1024, 2)
    assert (request.temperature, request.top_p, request.top_k, request.min_p) == (0.5, 0.9, 40, 0.1)
    assert (request.repetition_penalty, request.stops, request.patience_s) == (1.1, ("\n\n", "You:"), 1200)

    asked_id = answer.json()["id"]
    status = await shown(api, f"/generate/text/status/{asked_id}")
    assert (status["waiting"], status["done"], status["generations"]) == (2, False, []) and status["wait_time"] >= 1
    finish(node.job(), b" and the cat sat down.", b" in a time.", media="text/plain")
    status = await shown(api, f"/generate/text/status/{asked_id}")
    assert (status["done"], status["finished"], status["kudos"], status["is_possible"]) == (True, 2, 22.0, True)
    assert [one["text"] for one in status["generations"]] == [" and the cat sat down.", " in a time."]
    one = status["generations"][1]
    assert (one["seed"], one["worker_id"], one["worker_name"]) == (1, uuid_of(BOB.peer_id), "bob")
    assert (one["model"], one["state"], one["gen_metadata"]) == ("tiny", "ok", [])
    assert SECRET not in answer.text + str(status)


async def test_a_dry_run_and_a_cancellation(api: httpx.AsyncClient, node: AskingNode) -> None:
    answer = await ask(api, "/generate/text", prompt="Once", dry_run=True)
    assert (answer.status_code, answer.json()) == (200, {"kudos": 11.0}) and not node.asked
    asked_id = await taken(api, "/generate/text", prompt="Once")
    ended = (await api.delete(f"/api/v2/generate/text/status/{asked_id}")).json()
    assert (ended["done"], ended["faulted"], ended["generations"]) == (False, True, [])
    assert node.job().scope.cancel_called  # type: ignore[attr-defined]


async def test_what_has_no_counterpart_is_said(api: httpx.AsyncClient, node: AskingNode) -> None:
    params = {"tfs": 0.9, "typical": 1, "sampler_order": [6, 0, 1], "rep_pen_range": 0, "use_default_badwordsids": True}
    answer = await ask(api, "/generate/text", prompt="Once", params=params, models=["tiny"], softprompt="x")
    named = [warning["message"].split()[1] for warning in answer.json()["warnings"]]
    assert named == ["tfs", "sampler_order", "use_default_badwordsids", "softprompt"]


@pytest.mark.parametrize(
    ("params", "text", "finished"),
    [
        ({}, "One. Two", "One. Two"),
        ({"frmttriminc": True}, 'He said "no." And th', 'He said "no."'),
        ({"frmttriminc": True}, "no end", "no end"),
        ({"frmtrmblln": True}, "a\n\n\nb", "a\nb"),
        ({"frmtrmspch": True}, "a {b} #c", "a b c"),
        ({"singleline": True}, "a\nb", "a"),
        ({"stop_sequence": ["You:", ""]}, "Me: hm\nYou: what\nYou: no", "Me: hm\nYou:"),
    ],
)
def test_the_options_of_koboldai(params: dict[str, Any], text: str, finished: str) -> None:
    assert Finish(TextParams.model_validate(params))(text) == finished


async def test_stop_sequences_beyond_what_travels_end_the_text_here(api: httpx.AsyncClient, node: AskingNode) -> None:
    stops = [f"stop {number}!" for number in range(20)] + ["x" * 100]
    asked_id = await taken(api, "/generate/text", prompt="Once", params={"stop_sequence": stops, "frmtadsnsp": True})
    (request,) = node.asked
    assert request.stops == tuple(stops[:16]) and request.prompt == "Once "
    finish(node.job(), b"well stop 19! and on", media="text/plain")
    (one,) = (await shown(api, f"/generate/text/status/{asked_id}"))["generations"]
    assert one["text"] == "well stop 19!"


async def test_what_is_refused(api: httpx.AsyncClient, node: AskingNode) -> None:
    answer = await ask(api, "/generate/text", prompt="x", params={"max_length": 15, "n": 21})
    assert answer.json()["errors"] == {
        "params.max_length": "15 is less than the minimum of 16",
        "params.n": "21 is greater than the maximum of 20",
    }
    for body, status, rc in (
        ({"style": "none such"}, 404, "StyleNotFound"),
        ({"workers": ["nobody"]}, 404, "WorkerNotFound"),
        ({"webhook": "ftp://a.example"}, 400, "BadRequest"),
        ({"proxied_account": "x"}, 400, "OnlyServiceAccountProxy"),
    ):
        answer = await ask(api, "/generate/text", prompt="x", **body)
        assert (answer.status_code, answer.json()["rc"]) == (status, rc)
    asked_id = await taken(api, prompt="a picture")
    assert (await api.get(f"/api/v2/generate/text/status/{asked_id}")).status_code == 404, "pictures have a status of their own"
