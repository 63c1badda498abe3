"""Who belongs to the mesh, and who says what of whom, over the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meshgen.gateway.app import make_app
from tests.gateway.fake_node import ALICE, BOB, FakeNode

ACCOUNT = "ab" * 32


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def api(node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
    transport, headers = httpx.ASGITransport(make_app(node, "a-token")), {"authorization": "Bearer a-token"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4712", headers=headers) as client:
        yield client


async def test_members_are_shown_and_changed(api: httpx.AsyncClient, node: FakeNode) -> None:
    shown = (await api.get("/v1/mesh/members")).json()
    assert [row["how"] for row in shown["rows"]] == ["delegate", "admitted", "expelled"]
    answer = await api.post("/v1/mesh/members", json={"admit": [BOB.peer_id, ACCOUNT], "expel": []})
    assert answer.status_code == 200
    assert node.community.changes == [([BOB.public_key, bytes.fromhex(ACCOUNT)], [])]
    node.community.refusal = "this node is no delegate"
    answer = await api.post("/v1/mesh/members", json={"expel": [BOB.peer_id]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "refused")


async def test_an_account_that_nobody_could_recognize_is_not_admitted(api: httpx.AsyncClient, node: FakeNode) -> None:
    answer = await api.post("/v1/mesh/members", json={"admit": [ACCOUNT, "cd" * 32]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (409, "unknown_account") and "by its peer id" in error["hint"]
    assert not node.community.changes
    assert (await api.post("/v1/mesh/members", json={"expel": ["cd" * 32]})).status_code == 200, "so that it stays out"


@pytest.mark.parametrize(
    "body",
    [{"admit": ["bob"]}, {"expel": ["AB" * 32]}, {"admit": "bob"}, {"admit": [""]}, {"admit": [ACCOUNT] * 1001}, {"add": []}],
)
async def test_what_names_nobody_is_refused(api: httpx.AsyncClient, node: FakeNode, body: dict[str, Any]) -> None:
    assert (await api.post("/v1/mesh/members", json=body)).status_code == 422
    assert not node.community.changes


async def test_advice_on_a_peer(api: httpx.AsyncClient) -> None:
    said = (await api.get(f"/v1/peers/{BOB.peer_id}/advice")).json()["said"]
    assert [(one["by"], one["recommendation"], one["why"]) for one in said] == [(ALICE.peer_id, "avoid", "sends noise")]
    assert (await api.get(f"/v1/peers/{ACCOUNT}/advice")).json()["said"] == []
    assert (await api.get("/v1/peers/bob/advice")).status_code == 422
