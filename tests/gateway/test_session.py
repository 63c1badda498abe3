"""Signing in to the page, and what does not sign in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from meshgen.gateway.app import make_app
from meshgen.gateway.session import CODE_S, MAX_CODES, SESSION_S, Sessions
from meshgen.home import KEY_FILE
from tests.gateway.fake_node import FakeNode

TOKEN, KEY = "a-token", "an-owners-own-key-22"
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Clock:
    now = 1_780_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / KEY_FILE).write_text(KEY)
    transport = httpx.ASGITransport(make_app(FakeNode(), TOKEN, home=tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4712") as client:
        yield client


async def test_the_key_signs_in_and_out(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/session")).json() == {"signed_in": False}
    assert (await browser.get("/v1/status")).status_code == 401
    answer = await browser.post("/session", json={"key": KEY})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("meshgen-4712=") and "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    assert (await browser.get("/session")).json() == {"signed_in": True}
    assert (await browser.get("/v1/status")).status_code == 200
    kept = browser.cookies["meshgen-4712"]
    assert (await browser.delete("/session")).status_code == 204
    assert (await browser.get("/v1/status")).status_code == 401
    assert (await browser.get("/v1/status", headers={"cookie": f"meshgen-4712={kept}"})).status_code == 401


@pytest.mark.parametrize(
    "odd", ['{"a": 1}', 'x="', "a/b[c]=1", "=", 'theme={"dark":true,"size":2}', "meshgen-4713=x", '\\\\"x=1']
)
async def test_other_servers_of_this_machine_sign_nobody_out(browser: httpx.AsyncClient, odd: str) -> None:
    cookie = (await browser.post("/session", json={"key": KEY})).headers["set-cookie"].partition(";")[0]
    browser.cookies.clear()
    for cookies in (f"{odd}; {cookie}", f"{cookie}; {odd}"):
        assert (await browser.get("/v1/status", headers={"cookie": cookies})).status_code == 200, cookies


async def test_a_code_signs_in_once(browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/v1/session/code")).status_code == 401
    code = (await browser.post("/v1/session/code", headers=BEARER)).json()["code"]
    assert [(await browser.post("/session", json={"code": code})).status_code for _ in range(2)] == [204, 401]
    assert (await browser.get("/v1/status")).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"key": ""}, {"code": ""}, {"key": "0000000000"}, {"key": KEY + "x"}, {"code": "x" * 22}, {"key": TOKEN}]
)
async def test_what_does_not_sign_in(browser: httpx.AsyncClient, body: dict[str, str]) -> None:
    answer = await browser.post("/session", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "no_sign_in")
    assert "set-cookie" not in answer.headers


async def test_a_shared_key_does_not_sign_in(browser: httpx.AsyncClient) -> None:
    shared = (await browser.post("/v1/keys", json={"name": "class"}, headers=BEARER)).json()["id"]
    assert (await browser.post("/session", json={"key": shared})).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_session_is_the_own_pages(browser: httpx.AsyncClient, headers: dict[str, str]) -> None:
    await browser.post("/session", json={"key": KEY})
    assert (await browser.post("/v1/stop", headers=headers)).status_code in (401, 403)
    assert (await browser.get("/v1/status", headers=headers)).status_code in (401, 403)
    own = {"origin": "http://127.0.0.1:4712", "sec-fetch-site": "same-origin"}
    assert (await browser.get("/v1/status", headers=own)).status_code == 200


def test_cookies_that_are_forged_or_old() -> None:
    clock = Clock()
    sessions = Sessions(KEY, clock)
    value = sessions.new()
    assert sessions.holds(value) and Sessions(KEY, clock).holds(value)
    assert not Sessions(KEY + "2", clock).holds(value)
    until, nonce, signature = value.split(".")
    for forged in (
        "",
        ".",
        "..",
        "x",
        f"{int(until) + 1}.{nonce}.{signature}",
        f"{until}.{nonce}x.{signature}",
        f"{until}.{nonce}.",
        f"x.{nonce}.é",
    ):
        assert not sessions.holds(forged)
    clock.now += SESSION_S
    assert not sessions.holds(value)


def test_codes_that_are_used_old_or_too_many() -> None:
    clock = Clock()
    sessions = Sessions(KEY, clock)
    first = sessions.new_code()
    codes = [sessions.new_code() for _ in range(MAX_CODES)]
    assert not sessions.use_code(first) and not sessions.use_code("")
    assert sessions.use_code(codes[0]) and not sessions.use_code(codes[0])
    clock.now += CODE_S
    assert not sessions.use_code(codes[1])
