"""The API's routes and its door, without a socket."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from meshgen.gateway.app import make_app
from meshgen.gateway.bounds import MAX_BODY_BYTES
from meshgen.peers.job import Job
from meshgen.peers.request import ImageRequest, RequestError
from tests.gateway.fake_node import PNG, SECRET, FakeNode, award, draw

TOKEN = "a-token"


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def api(node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(node, TOKEN))
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4712", headers=headers) as client:
        yield client


def error_of(answer: httpx.Response) -> dict[str, str]:
    return answer.json()["error"]


async def test_a_job_from_submission_to_picture(api: httpx.AsyncClient, node: FakeNode) -> None:
    answer = await api.post("/v1/jobs", json={"prompt": SECRET, "width": 512, "height": 512, "count": 2, "seed": 7})
    assert (answer.status_code, answer.json()) == (202, {"id": "job1"})
    assert answer.headers["location"] == "/v1/jobs/job1"
    request = node.requester.requests[0]
    assert (request.prompt, request.count, request.seed, request.private) == (SECRET, 2, 7, False)

    job = node.requester.jobs["job1"]
    award(job)
    draw(job, 0)
    shown = (await api.get("/v1/jobs/job1")).json()
    assert shown["state"] == "running" and shown["mkudos"] == 1234
    assert shown["parts"][0]["worker_alias"] == "bob"
    assert [picture["url"] for picture in shown["results"]] == ["/v1/jobs/job1/results/0"]
    picture = await api.get("/v1/jobs/job1/results/0")
    assert (picture.headers["content-type"], picture.content) == ("image/png", PNG)
    assert error_of(await api.get("/v1/jobs/job1/results/1"))["code"] == "no_result"
    assert [job["id"] for job in (await api.get("/v1/jobs")).json()["jobs"]] == ["job1"]


async def test_the_prompt_comes_back_in_no_view_and_no_log(api: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        await api.post("/v1/jobs", json={"prompt": SECRET}),
        await api.post("/v1/jobs", json={"prompt": SECRET, "steps": 0}),
        await api.post("/v1/jobs", json={"prompt": [SECRET]}),
        await api.post("/v1/jobs", json={"promt": SECRET}),
        await api.post("/v1/jobs", content='{"prompt": "' + SECRET),
        await api.get("/v1/jobs/job1"),
        await api.get("/v1/jobs"),
    ]
    assert SECRET not in "".join(answer.text for answer in answers)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({}, "prompt", "required"),
        ({"prompt": ""}, "prompt", "at least 1 character"),
        ({"prompt": "x" * 8001}, "prompt", "at most 8000"),
        ({"prompt": "x", "width": 100, "height": 64}, "width", "multiple of 8"),
        ({"prompt": "x", "width": 9000, "height": 64}, "width", "less than or equal to 8192"),
        ({"prompt": "x", "width": 512}, "", "give both"),
        ({"prompt": "x", "steps": 0}, "steps", "greater than or equal to 1"),
        ({"prompt": "x", "steps": "many"}, "steps", "valid integer"),
        ({"prompt": "x", "count": 65}, "count", "less than or equal to 64"),
        ({"prompt": "x", "seed": -1}, "seed", "greater than or equal to 0"),
        ({"prompt": "x", "guidance_scale": "nan"}, "guidance_scale", "finite"),
        ({"prompt": "x", "max_mkudos": -5}, "max_mkudos", "greater than or equal to 0"),
        ({"prompt": "x", "timeout_s": 0}, "timeout_s", "greater than 0"),
    ],
)
async def test_a_wrong_request_names_its_field(
    api: httpx.AsyncClient, node: FakeNode, body: object, field: str, says: str
) -> None:
    answer = await api.post("/v1/jobs", json=body)
    error = error_of(answer)
    assert answer.status_code == 422
    assert error.get("field", "") == field
    assert says in error["message"].lower()
    assert not node.requester.requests


async def test_a_misspelt_field_suggests_the_right_one(api: httpx.AsyncClient) -> None:
    error = error_of(await api.post("/v1/jobs", json={"prompt": "x", "step": 3}))
    assert (error["code"], error["field"], error["hint"]) == ("unknown_field", "step", "did you mean 'steps'?")


async def test_events_are_replayed_to_the_end(api: httpx.AsyncClient, node: FakeNode) -> None:
    await api.post("/v1/jobs", json={"prompt": "x"})
    job = node.requester.jobs["job1"]
    award(job)
    draw(job, 0)
    job.enter("done")
    whole = await api.get("/v1/jobs/job1/events")
    assert whole.headers["content-type"].startswith("text/event-stream")
    kinds = [line.removeprefix("event: ") for line in whole.text.splitlines() if line.startswith("event: ")]
    assert kinds == ["state", "part", "result", "state", "end"]
    rest = await api.get("/v1/jobs/job1/events", headers={"last-event-id": "4"})
    assert rest.text.startswith("id: 5\nevent: end\ndata: {")
    assert error_of(await api.get("/v1/jobs/job1/events", headers={"last-event-id": "x"}))["field"] == "last-event-id"


async def test_cancel(api: httpx.AsyncClient, node: FakeNode) -> None:
    await api.post("/v1/jobs", json={"prompt": "x"})
    assert (await api.delete("/v1/jobs/job1")).status_code == 202
    assert node.requester.jobs["job1"].scope.cancel_called
    assert error_of(await api.delete("/v1/jobs/nope"))["code"] == "no_job"


@pytest.mark.parametrize(("code", "status"), [("too_many_jobs", 429), ("not_ready", 503), ("no_prompt", 422)])
async def test_what_the_requester_refuses(
    api: httpx.AsyncClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    def refuse(request: ImageRequest) -> Job:
        raise RequestError(code, "because", "prompt")

    monkeypatch.setattr(node.requester, "submit", refuse)
    answer = await api.post("/v1/jobs", json={"prompt": "x"})
    assert (answer.status_code, error_of(answer)) == (status, {"code": code, "message": "because", "field": "prompt"})


async def test_a_node_that_requests_nothing_says_so(api: httpx.AsyncClient, node: FakeNode) -> None:
    node.requester = None
    error = error_of(await api.post("/v1/jobs", json={"prompt": "x"}))
    assert error["code"] == "no_requester" and "node.roles" in error["hint"]


async def test_status_peers_and_models(api: httpx.AsyncClient, tmp_path: Path) -> None:
    assert (await api.get("/v1/status")).json()["alias"] == "alice"
    assert (await api.get("/v1/peers")).json()["peers"][0]["alias"] == "bob"
    assert (await api.get("/v1/models")).json()["mesh"][0]["name"] == "sd15"
    added = await api.post("/v1/models", json={"name": "mine", "path": str(tmp_path)})
    assert (added.status_code, added.json()["name"]) == (201, "mine")
    assert error_of(await api.post("/v1/models", json={"name": "mine", "path": "models/mine"}))["field"] == "path"
    assert error_of(await api.post("/v1/models", json={"name": "mine", "path": str(tmp_path / "no")}))["code"] == "bad_model"
    assert error_of(await api.post("/v1/models", json={"name": "", "path": str(tmp_path)}))["field"] == "name"
    assert (await api.delete("/v1/models/mine")).json() == {"removed": "mine"}
    assert error_of(await api.delete("/v1/models/mine"))["code"] == "no_model"


async def test_stop_answers_first(api: httpx.AsyncClient, node: FakeNode) -> None:
    assert (await api.post("/v1/stop")).json() == {"stopping": True}
    assert node.stopped.is_set()


# -- the door


async def test_only_health_is_open(api: httpx.AsyncClient) -> None:
    api.headers.pop("authorization")
    assert (await api.get("/health")).json() == {"status": "ok", "app": "meshgen"}
    for path in ("/v1/status", "/v1/jobs", "/v1/nothing", "/v1"):
        answer = await api.get(path)
        assert (answer.status_code, error_of(answer)["code"]) == (401, "no_token")
    assert (await api.get("/v1/status", headers={"authorization": "Bearer a-tokem"})).status_code == 401
    assert (await api.get("/v1/status", headers={"authorization": TOKEN})).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:4712", "127.0.0.1.evil.example", "", "0.0.0.0", "[::2]:80"])
async def test_foreign_hosts_are_refused(api: httpx.AsyncClient, host: str) -> None:
    answer = await api.get("/v1/status", headers={"host": host})
    assert (answer.status_code, error_of(answer)["code"]) == (403, "foreign_host")
    assert (await api.get("/health", headers={"host": host})).status_code == 403


async def test_foreign_origins_are_refused(api: httpx.AsyncClient) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        answer = await api.get("/v1/status", headers={"origin": origin})
        assert (answer.status_code, error_of(answer)["code"]) == (403, "foreign_origin")
    own = await api.get("/v1/status", headers={"origin": "http://127.0.0.1:4712"})
    assert own.status_code == 200
    assert not [name for name in own.headers if name.startswith("access-control")]


async def test_large_bodies_are_refused_announced_or_not(api: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65536 + 1):
            yield bytes(65536)

    assert (await api.post("/v1/models", content=bytes(MAX_BODY_BYTES + 1))).status_code == 413
    assert error_of(await api.post("/v1/models", content=chunks()))["code"] == "too_large"


async def test_unknown_paths_and_methods_have_the_same_shape(api: httpx.AsyncClient) -> None:
    assert error_of(await api.get("/v1/nothing"))["code"] == "not_found"
    assert error_of(await api.put("/v1/jobs"))["code"] == "method_not_allowed"
    assert "/v1/jobs" in (await api.get("/openapi.json")).json()["paths"]


# -- prices and the charter


async def test_a_dry_run_tells_the_price_and_starts_nothing(api: httpx.AsyncClient, node: FakeNode) -> None:
    answer = await api.post("/v1/jobs", json={"prompt": SECRET, "count": 2, "max_mkudos": 10_000, "dry_run": True})
    told = answer.json()
    assert (answer.status_code, told["dry_run"], told["model"], told["count"]) == (200, True, "sd15", 2)
    assert (told["tariff_mkudos"], told["tariff_total_mkudos"]) == (9160, 18_320)
    assert (told["max_mkudos"], told["total_mkudos"], told["workers_in_reach"]) == (10_000, 20_000, 2)
    assert told["levels"] == [
        {"workers": 2, "price_permille": 1000, "mkudos": 9160, "in_reach": True},
        {"workers": 1, "price_permille": 2000, "mkudos": 18_320, "in_reach": False},
    ]
    assert not node.requester.jobs and SECRET not in answer.text


async def test_a_price_that_is_not_known_is_said(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/jobs", json={"prompt": SECRET, "model": "unknown", "dry_run": True})
    assert (answer.status_code, error_of(answer)["code"]) == (503, "no_worker")
    assert error_of(await api.post("/v1/jobs", json={"prompt": SECRET, "dry_run": "maybe"}))["field"] == "dry_run"


async def test_sharing_is_the_requests_or_left_to_the_settings(api: httpx.AsyncClient, node: FakeNode) -> None:
    for body in ({}, {"shared": True}, {"shared": False}):
        await api.post("/v1/jobs", json={"prompt": SECRET, **body})
    assert [request.shared for request in node.requester.requests] == [None, True, False]
    assert (await api.get("/v1/jobs/job2")).json()["shared"] is True


async def test_a_charter_is_brought_into_force_or_refused_in_words(api: httpx.AsyncClient) -> None:
    assert (await api.post("/v1/mesh/charter", json={"text": "name: ours"})).json() == {"charter": "ours", "version": 1}
    answer = await api.post("/v1/mesh/charter", json={"text": "- no"})
    assert (answer.status_code, error_of(answer)["code"]) == (422, "bad_charter")
    assert "holds no keys" in error_of(answer)["message"]
    assert (await api.post("/v1/mesh/charter", json={"text": "x" * 32_769})).status_code == 422
