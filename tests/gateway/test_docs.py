"""The page that describes the API: whole without the web."""

from __future__ import annotations

import re

import httpx
import pytest

from meshgen.gateway.app import make_app
from tests.gateway.fake_node import FakeNode


async def test_the_page_and_all_that_it_loads_come_from_here() -> None:
    transport = httpx.ASGITransport(make_app(FakeNode(), "a-token"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4712") as client:
        page = await client.get("/docs")
        assert page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]
        parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(parts) == 3 and all(part.startswith("/docs/") for part in parts)
        for part in parts:
            assert len((await client.get(part)).content) > 100


@pytest.mark.parametrize("name", ["nothing.js", "..%2f..%2fmain.py", "%2e%2e/app.py", "favicon.png"])
async def test_nothing_else_is_served(name: str) -> None:
    transport = httpx.ASGITransport(make_app(FakeNode(), "a-token"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4712") as client:
        assert (await client.get(f"/docs/{name}")).status_code in (401, 404)


def test_all_parameters_of_paths_are_described() -> None:
    for path, operations in make_app(FakeNode(), "a-token").openapi()["paths"].items():
        for method, operation in operations.items():
            told = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert told == set(re.findall(r"{(\w+)}", path)), f"{method} {path}"
