"""AI Horde's API over a whole mesh: real peers, ledgers and a market on the in-memory net, with fake engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import trio
from fastapi import FastAPI
from PIL import Image

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.gateway.callers import ANONYMOUS_KEY
from meshgen.gateway.errors import install_handlers
from meshgen.gateway.horde.asking import asking_routes
from meshgen.gateway.horde.desk import Desk
from meshgen.gateway.horde.faults import install_horde_handlers
from meshgen.gateway.horde.names import uuid_of
from meshgen.gateway.keys import KeyRing
from meshgen.peers.peer import Peer
from meshgen.testing.mesh import VirtualMesh, now_ms, virtual_mesh
from tests.gateway.horde.asked import encoded, picture


@asynccontextmanager
async def api_of(node: Peer, background: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    keys = KeyRing()
    for routes in asking_routes(node, keys, Desk(keys, background, now_ms)):
        app.include_router(routes)
    install_handlers(app)
    install_horde_handlers(app)
    headers = {"apikey": ANONYMOUS_KEY}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=headers) as client:
        yield client


async def ended(api: httpx.AsyncClient, path: str, asked_id: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every poll of one a second until it is done, and the status then."""
    polls: list[dict[str, Any]] = []
    while not polls or not (polls[-1].get("done") or polls[-1].get("state") == "done"):
        polls.append((await api.get(f"/api/v2{path}/{asked_id}")).json())
        assert len(polls) < 300, polls[-1]
        await trio.sleep(1)
    status = await api.get(f"/api/v2{path.replace('check', 'status')}/{asked_id}")
    return polls, status.json()


async def mesh_of(mesh: VirtualMesh) -> Peer:
    await mesh.worker("bob", seconds=4)
    await mesh.worker("eve", seconds=4)
    return await mesh.requester("asker")


async def test_pictures_over_the_mesh(autojump_clock: object) -> None:
    async with virtual_mesh(seed=5) as mesh:
        node = await mesh_of(mesh)
        async with trio.open_nursery() as background, api_of(node, background) as api:
            body = {"prompt": "a cat ### fog", "models": [fake_model().name], "params": {"n": 4, "seed": "9", "steps": 4}}
            assert (await api.post("/api/v2/generate/async", json=body | {"dry_run": True})).json()["kudos"] > 0
            asked = (await api.post("/api/v2/generate/async", json=body)).json()
            polls, status = await ended(api, "/generate/check", asked["id"])
            assert all(poll["wait_time"] >= 1 and poll["is_possible"] for poll in polls[:-1])
            assert sum(poll["finished"] for poll in polls) and polls[-1]["wait_time"] == 0
            assert abs(polls[2]["wait_time"] - (len(polls) - 3)) <= 3, "what is said early on is about what it takes"
            assert {one["worker_name"] for one in status["generations"]} == {"bob", "eve"}
            assert [one["seed"] for one in status["generations"]] == ["9", "10", "11", "12"]
            assert {one["worker_id"] for one in status["generations"]} == {
                uuid_of(mesh.nodes[name].peer_id) for name in ("bob", "eve")
            }
            spent = -node.ledger.balance(node.identity.public_key).net / 1000
            assert status["kudos"] == spent > 0
            found = await api.get(status["generations"][0]["img"])
            assert Image.open(BytesIO(found.content)).format == "WEBP"
            background.cancel_scope.cancel()


async def test_a_worker_that_comes_late_is_waited_for(autojump_clock: object) -> None:
    async with virtual_mesh(seed=6) as mesh:
        node = await mesh.requester("asker")
        async with trio.open_nursery() as background, api_of(node, background) as api:
            body = {"prompt": "a cat", "models": [fake_model().name], "params": {"steps": 4}}
            asked = (await api.post("/api/v2/generate/async", json=body)).json()
            assert asked["warnings"][0]["code"] == "NoAvailableWorker"
            await trio.sleep(300)
            check = (await api.get(f"/api/v2/generate/check/{asked['id']}")).json()
            assert (check["is_possible"], check["faulted"]) == (False, False) and check["message"]
            await mesh.worker("bob", seconds=1)
            _, status = await ended(api, "/generate/check", asked["id"])
            assert len(status["generations"]) == 1 and status["is_possible"]
            await trio.sleep(1200)
            assert (await api.get(f"/api/v2/generate/check/{asked['id']}")).status_code == 404

            lost = (await api.post("/api/v2/generate/async", json=body | {"models": ["nobody has it"]})).json()
            await trio.sleep(1190)
            assert not (await api.get(f"/api/v2/generate/check/{lost['id']}")).json()["faulted"]
            await trio.sleep(20)
            assert (await api.get(f"/api/v2/generate/check/{lost['id']}")).json()["faulted"], "after 20 minutes"
            background.cancel_scope.cancel()


async def test_a_form_over_the_mesh(autojump_clock: object) -> None:
    async with virtual_mesh(seed=7) as mesh:
        engine = FakeEngine([replace(fake_model("caption"), family="alchemy")], 1.0)
        await mesh.add("bob", "worker", engine)
        node = await mesh.requester("asker")
        async with trio.open_nursery() as background, api_of(node, background) as api:
            body = {"forms": [{"name": "caption"}], "source_image": encoded(picture())}
            asked = (await api.post("/api/v2/interrogate/async", json=body)).json()
            _, status = await ended(api, "/interrogate/status", asked["id"])
            assert isinstance(status["forms"][0]["result"]["caption"], str)
            background.cancel_scope.cancel()
