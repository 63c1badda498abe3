"""What the anonymous key has no credit for."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.horde.asked import AskingNode
from tests.gateway.horde.conftest import OWN

ANONYMOUS = {"apikey": "0000000000"}
LARGE = {"width": 2048, "height": 1024, "steps": 60}


async def ask(api: httpx.AsyncClient, headers: dict[str, str], params: dict[str, Any], **body: Any) -> httpx.Response:
    return await api.post("/api/v2/generate/async", json={"prompt": "x", "params": params} | body, headers=headers)


@pytest.fixture
def node() -> AskingNode:
    return AskingNode()


@pytest.mark.parametrize(
    "params",
    [
        LARGE,
        {"width": 1088, "height": 1024},
        {"steps": 51},
        {"steps": 26, "sampler_name": "k_heun"},
        {"steps": 11, "sampler_name": "lcm"},
    ],
)
async def test_large_requests_of_nobody_in_particular(api: httpx.AsyncClient, node: AskingNode, params: dict[str, Any]) -> None:
    refused = await ask(api, ANONYMOUS, params)
    assert (refused.status_code, refused.json()["rc"]) == (403, "KudosUpfront") and not node.asked
    assert "requires 11.0 kudos" in refused.json()["message"]
    assert (await ask(api, ANONYMOUS, params, dry_run=True)).status_code == 200
    assert (await ask(api, OWN, params)).status_code == 202


@pytest.mark.parametrize("params", [{}, {"width": 1024, "height": 1024, "steps": 50}, {"steps": 25, "sampler_name": "k_heun"}])
async def test_what_anybody_may_ask_for(api: httpx.AsyncClient, node: AskingNode, params: dict[str, Any]) -> None:
    assert (await ask(api, ANONYMOUS, params)).status_code == 202


async def test_a_request_may_be_made_smaller(api: httpx.AsyncClient, node: AskingNode) -> None:
    answer = await ask(api, ANONYMOUS, LARGE, allow_downgrade=True)
    assert answer.status_code == 202 and "Downgraded" in answer.text
    (request,) = node.asked
    assert (request.width, request.height, request.steps) == (1408, 704, 50)
    await ask(api, OWN, LARGE, allow_downgrade=True)
    assert node.asked[-1].width == 2048, "the owner's key has the credit"
