"""Alchemy as AI Horde's clients ask for it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from meshgen.gateway.horde.forms import LISTS, overall
from meshgen.peers.request import RequestError
from tests.gateway.horde.asked import AskingNode, ask, award, bring, encoded, finish, picture, shown, taken

SOURCE = encoded(picture())


@pytest.fixture
def node() -> AskingNode:
    return AskingNode()


def named(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


def found(**what: Any) -> bytes:
    return json.dumps(what).encode()


async def test_forms_from_their_picture_to_their_results(api: httpx.AsyncClient, node: AskingNode) -> None:
    names = ("caption", "nsfw", "interrogation", "RealESRGAN_x4plus")
    asked_id = await taken(api, "/interrogate", forms=named(*names, "caption"), source_image=SOURCE)
    assert [(request.model, request.source) for request in node.asked] == [(name, picture()) for name in names]
    status = await shown(api, f"/interrogate/status/{asked_id}")
    assert status == {"state": "waiting", "forms": [{"form": name, "state": "waiting"} for name in names]}

    award(node.job(2))
    assert (await shown(api, f"/interrogate/status/{asked_id}"))["state"] == "processing"
    finish(node.job(1), found(caption="a cat"), media="application/json")
    assert (await shown(api, f"/interrogate/status/{asked_id}"))["state"] == "partial"
    finish(node.job(2), found(nsfw=False, score=0.1), media="application/json")
    tags = [{"text": "cat", "confidence": 0.9, "more": 1}]
    finish(node.job(3), found(interrogation={"tags": tags, "sites": None}), media="application/json")
    finish(node.job(4))
    status = await shown(api, f"/interrogate/status/{asked_id}")
    assert status["state"] == "done" and {form["state"] for form in status["forms"]} == {"done"}
    caption, nsfw, interrogation, enlarged = [form["result"] for form in status["forms"]]
    assert (caption, nsfw) == ({"caption": "a cat"}, {"nsfw": False})
    lists = interrogation["interrogation"]
    assert lists == {name: [] for name in LISTS} | {"tags": [{"text": "cat", "confidence": 0.9}]}
    assert {name: interrogation[name] for name in LISTS} == lists
    assert (await api.get(enlarged["RealESRGAN_x4plus"])).headers["content-type"] == "image/webp"


async def test_forms_that_fail_or_are_cancelled(api: httpx.AsyncClient, node: AskingNode) -> None:
    asked_id = await taken(api, "/interrogate", forms=named("caption", "nsfw"), source_image=SOURCE)
    finish(node.job(1), found(caption="a cat"), media="application/json")
    node.job(2).enter("failed", "0 of 1 answers arrived: nobody")
    status = await shown(api, f"/interrogate/status/{asked_id}")
    assert (status["state"], status["message"]) == ("partial", "0 of 1 answers arrived: nobody")
    assert [form["state"] for form in status["forms"]] == ["done", "faulted"]

    other = await taken(api, "/interrogate", forms=named("caption", "nsfw"), source_image=SOURCE)
    bring(node.job(3), 0, found(caption="a cat"), "application/json")
    ended = (await api.delete(f"/api/v2/interrogate/status/{other}")).json()
    assert [form["state"] for form in ended["forms"]] == ["done", "cancelled"]
    assert node.job(4).scope.cancel_called  # type: ignore[attr-defined]


NONSENSE = (b"", b"no JSON", b"[]", b"{}", b'{"FORM": null}', b'{"FORM": 7}', b'{"FORM": NaN}', b'{"FORM": "\\ud800"}')
DEEP = b'{"FORM": ' + b"[" * 90_000 + b"]" * 90_000 + b"}"


@pytest.mark.parametrize("data", [*NONSENSE, DEEP, b'{"FORM": {"tags": [1e999]}}'])
async def test_a_worker_that_talks_nonsense_breaks_no_client(api: httpx.AsyncClient, node: AskingNode, data: bytes) -> None:
    names = ("interrogation", "caption", "nsfw")
    asked_id = await taken(api, "/interrogate", forms=named(*names), source_image=SOURCE)
    for number, name in enumerate(names, 1):
        finish(node.job(number), data.replace(b"FORM", name.encode()), media="application/json")
    status = await shown(api, f"/interrogate/status/{asked_id}")
    assert status["state"] == "faulted" and not any("result" in form for form in status["forms"])


async def test_rows_that_are_none_are_left_out(api: httpx.AsyncClient, node: AskingNode) -> None:
    asked_id = await taken(api, "/interrogate", forms=named("interrogation"), source_image=SOURCE)
    rows = [7, {}, {"text": 7, "confidence": 1}, {"text": "x", "confidence": "high"}, {"text": "y", "confidence": 1}]
    finish(node.job(), found(interrogation={"tags": rows, "sites": {}}), media="application/json")
    (form,) = (await shown(api, f"/interrogate/status/{asked_id}"))["forms"]
    assert form["result"]["interrogation"] == {name: [] for name in LISTS} | {"tags": [{"text": "y", "confidence": 1}]}


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["waiting", "waiting"], "waiting"),
        (["waiting", "processing"], "processing"),
        (["waiting", "done"], "partial"),
        (["done", "faulted"], "partial"),
        (["done", "done"], "done"),
        (["faulted", "faulted"], "faulted"),
        (["faulted", "waiting"], "waiting"),
        (["faulted", "cancelled"], "faulted"),
        (["cancelled"], "cancelled"),
    ],
)
def test_the_state_of_the_whole(states: Any, state: str) -> None:
    assert overall(states) == state


async def test_what_nobody_offers_is_said(api: httpx.AsyncClient, node: AskingNode) -> None:
    node.requester.none.add("caption")
    answer = await ask(api, "/interrogate", forms=named("caption"), source_image=SOURCE)
    assert answer.status_code == 202 and "no worker that is known offers the model 'caption'" in answer.json()["message"]
    status = await shown(api, f"/interrogate/status/{answer.json()['id']}")
    assert (status["state"], status["message"]) == ("waiting", "no worker that is known offers the model 'caption'")


@pytest.mark.parametrize(
    ("body", "rc"),
    [
        ({"forms": [], "source_image": SOURCE}, "NoValidActions"),
        ({"forms": named("caption")}, "ImageValidationFailed"),
        ({"forms": named("caption"), "source_image": "zzz"}, "ImageValidationFailed"),
        ({"forms": named("caption"), "source_image": "http://localhost/x.png"}, "SourceImageUrlInvalid"),
        ({"forms": named("caption"), "source_image": SOURCE, "webhook": "http://a.example"}, "BadRequest"),
    ],
)
async def test_what_is_refused(api: httpx.AsyncClient, node: AskingNode, body: dict[str, Any], rc: str) -> None:
    answer = await ask(api, "/interrogate", **body)
    assert (answer.status_code, answer.json()["rc"]) == (400, rc) and not node.asked


async def test_when_a_later_form_is_refused_the_earlier_ones_are_cancelled(api: httpx.AsyncClient, node: AskingNode) -> None:
    node.requester.on_submit = lambda job: setattr(node.requester, "refusal", RequestError("too_many_jobs", "too many"))
    answer = await ask(api, "/interrogate", forms=named("caption", "nsfw"), source_image=SOURCE)
    assert answer.status_code == 429 and node.job(1).scope.cancel_called  # type: ignore[attr-defined]
    assert (await api.get("/api/v2/interrogate/status/garbage")).json()["rc"] == "RequestNotFound"
