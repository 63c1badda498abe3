"""The shortcut for what is polled says the same as the route that describes it."""

from __future__ import annotations

from typing import Any, cast

import httpx
import trio

from meshgen.gateway.app import make_app
from meshgen.gateway.hot import Hot
from tests.gateway.fake_node import FakeNode

WISH = {"prompt": "a lighthouse", "params": {"width": 64, "height": 64, "steps": 4}}
KEY = {"apikey": "0000000000"}


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=KEY)


async def test_a_check_is_answered_as_its_route_would() -> None:
    app = make_app(FakeNode(), "t" * 32)
    async with client(app) as api:
        asked = (await api.post("/api/v2/generate/async", json=WISH)).json()["id"]
        short = await api.get(f"/api/v2/generate/check/{asked}")
        for layer in app.user_middleware:
            if cast(Any, layer.cls) is Hot:
                layer.kwargs["looks"] = {}
        app.middleware_stack = app.build_middleware_stack()
        routed = await api.get(f"/api/v2/generate/check/{asked}")
    assert short.status_code == routed.status_code == 200
    assert short.content == routed.content and "done" in short.json()
    assert dict(short.headers) == dict(routed.headers)


async def test_what_is_not_there_is_left_to_the_routes() -> None:
    async with client(make_app(FakeNode(), "t" * 32)) as api:
        for path in ("check/nobody", "check/", "check", "status/nobody"):
            answer = await api.get(f"/api/v2/generate/{path}")
            assert answer.status_code == 404 and answer.json()["rc"], path
        assert (await api.delete("/api/v2/generate/check/nobody")).status_code == 405


async def test_the_guard_stands_before_it() -> None:
    async with client(make_app(FakeNode(), "t" * 32)) as api:
        asked = (await api.post("/api/v2/generate/async", json=WISH)).json()["id"]
        refused = await api.get(f"/api/v2/generate/check/{asked}", headers={"host": "evil.example"})
        assert refused.status_code == 403


async def test_only_reads_are_looked_up() -> None:
    reached = list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(f"{scope.get('method', '')} {scope.get('path', '')}")

    async def nothing(*_: Any) -> Any:
        await trio.lowlevel.checkpoint()

    hot = Hot(app, {"/a": lambda name: {"name": name} if name == "known" else None})
    for method, path in (("POST", "/a/known"), ("GET", "/a/unknown"), ("GET", "/a/b/known"), ("GET", "/")):
        await hot({"type": "http", "method": method, "path": path}, nothing, nothing)
    await hot({"type": "lifespan"}, nothing, nothing)
    assert reached == ["POST /a/known", "GET /a/unknown", "GET /a/b/known", "GET /", " "]
