"""Routes about the worker, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from meshgen.gateway.errors import install_handlers
from meshgen.gateway.worker import MAX_PAUSE_S, worker_routes
from tests.gateway.fake_overseer import FakeOverseer


@pytest.fixture
def node() -> SimpleNamespace:
    return SimpleNamespace(overseer=FakeOverseer())


@pytest.fixture
async def api(node: SimpleNamespace) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(worker_routes(node))
    install_handlers(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def test_pause_and_resume(api: httpx.AsyncClient, node: SimpleNamespace) -> None:
    assert (await api.get("/v1/worker")).json()["takes_work"] is True
    answer = await api.post("/v1/worker/pause", json={"for_s": 7200, "message": "new fan", "now": True})
    assert answer.status_code == 200 and answer.json()["reasons"][0]["text"] == "paused by the owner: new fan"
    assert (await api.post("/v1/worker/pause", json={})).json()["paused"]["until_ms"] == 0
    assert (await api.post("/v1/worker/resume")).json()["takes_work"] is True
    assert node.overseer.said == [("pause", 7_200_000, "new fan", True), ("pause", 0, "", False), ("resume",)]


@pytest.mark.parametrize(
    "body", [{"for_s": -1}, {"for_s": MAX_PAUSE_S + 1}, {"message": "x" * 121}, {"now": "soon"}, {"hours": 2}, []]
)
async def test_bad_pauses(api: httpx.AsyncClient, node: SimpleNamespace, body: object) -> None:
    answer = await api.post("/v1/worker/pause", json=body)
    assert answer.status_code == 422 and answer.json()["error"]["message"] and not node.overseer.said


async def test_what_the_overseer_refuses_is_told(api: httpx.AsyncClient, node: SimpleNamespace) -> None:
    node.overseer.fails = ValueError("a message is one line")
    assert (await api.post("/v1/worker/pause", json={})).json()["error"]["message"] == "a message is one line"
    node.overseer.fails = OSError(28, "No space left on device")
    for verb in ("pause", "resume"):
        answer = await api.post(f"/v1/worker/{verb}", json={})
        assert answer.status_code == 500 and "nothing was changed" in answer.json()["error"]["message"]


async def test_a_node_without_worker_says_so(api: httpx.AsyncClient, node: SimpleNamespace) -> None:
    node.overseer = None
    for answer in (await api.get("/v1/worker"), await api.post("/v1/worker/resume"), await api.post("/v1/worker/pause", json={})):
        assert answer.status_code == 409 and answer.json()["error"]["code"] == "no_worker"
