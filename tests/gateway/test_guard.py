"""The door: who comes in, from where, how often, with how much. Every attack that is thought of stands here, and is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from meshgen.gateway.app import make_app
from meshgen.gateway.bounds import MAX_BODY_BYTES, MAX_REQUEST_BYTES, MAX_STRANGER_BYTES, MAX_VALUES
from meshgen.gateway.origin import is_loopback
from meshgen.home import KEY_FILE
from meshgen.settings import ApiSettings
from tests.gateway.fake_node import SECRET, FakeNode

TOKEN, KEY, ANONYMOUS = "a-token", "an-owners-own-key-22", "0000000000"
BEARER = {"authorization": f"Bearer {TOKEN}"}
OWN = {"apikey": KEY}
LAN, BASE = ("192.168.1.9", 50_000), "http://127.0.0.1:4712"
ASK = "/api/v2/generate/async"
WORK = {"prompt": SECRET}
EVIL = "http://evil.example"
SCRIPT = "<script>alert(1)</script>"


def client(home: Path, source: tuple[str, int] = ("127.0.0.1", 50_000), base: str = BASE, **api: Any) -> httpx.AsyncClient:
    """A program at ``source`` that calls a fresh gateway."""
    (home / KEY_FILE).write_text(KEY)
    app = make_app(FakeNode(), TOKEN, home=home, api=ApiSettings(**api))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=source), base_url=base)


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client(tmp_path) as found:
        yield found


def code_of(answer: httpx.Response) -> tuple[int, str]:
    found = answer.json()
    return answer.status_code, found["rc"] if "rc" in found else found["error"]["code"]


async def shared_key(api: httpx.AsyncClient, **limits: int) -> str:
    return str((await api.post("/v1/keys", json={"name": "class", **limits}, headers=BEARER)).json()["id"])


# -- keys


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer ", "Bearer a-tokem", "a-token", "bearer a-token", "Basic YS10b2tlbg==", f"Bearer {ANONYMOUS}"]
)
async def test_the_owners_api_needs_the_owner(local: httpx.AsyncClient, shown: str) -> None:
    answer = await local.get("/v1/status", headers={"authorization": shown})
    assert answer.status_code in (401, 403) and "alice" not in answer.text


async def test_the_token_and_the_owners_key_open_it(local: httpx.AsyncClient) -> None:
    for key in (TOKEN, KEY):
        assert (await local.get("/v1/status", headers={"authorization": f"Bearer {key}"})).status_code == 200
    assert (await local.get("/v1/status", headers=OWN)).status_code == 401, "AI Horde's header is for AI Horde's API"


async def test_a_shared_key_is_for_work_alone(local: httpx.AsyncClient) -> None:
    bearer = {"authorization": f"Bearer {await shared_key(local)}"}
    for method, path in (
        ("GET", "/v1/status"),
        ("GET", "/v1/keys"),
        ("POST", "/v1/stop"),
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/x"),
    ):
        assert code_of(await local.request(method, path, headers=bearer)) == (403, "not_owner")
    assert (await local.get("/v1/models", headers=bearer)).status_code == 200
    assert (await local.get("/v1/models", headers={"authorization": "Bearer sk-none"})).status_code == 401


async def test_what_is_open_is_only_to_be_read(local: httpx.AsyncClient) -> None:
    assert (await local.get("/health")).status_code == 200
    assert (await local.get("/nothing")).status_code == 404
    for method, path in (
        ("POST", "/health"),
        ("POST", "/"),
        ("DELETE", "/nothing"),
        ("PUT", "/session/x"),
        ("GET", "/v1"),
        ("GET", "/v1/x"),
    ):
        assert code_of(await local.request(method, path)) == (401, "no_token")


# -- AI Horde's keys


async def test_keys_of_ai_hordes_api(local: httpx.AsyncClient) -> None:
    assert "apikey" in (await local.post(ASK, json=WORK)).json()["errors"]
    assert code_of(await local.post(ASK, json=WORK, headers={"apikey": "bad"})) == (401, "InvalidAPIKey")
    for key in (KEY, ANONYMOUS, await shared_key(local)):
        assert (await local.post(ASK, json=WORK, headers={"apikey": key})).status_code == 202


async def test_anonymous_is_this_machine_unless_it_is_allowed(tmp_path: Path) -> None:
    anonymous = {"apikey": ANONYMOUS}
    async with client(tmp_path, LAN) as api:
        assert code_of(await api.post(ASK, json=WORK, headers=anonymous)) == (403, "AnonForbidden")
        assert (await api.post(ASK, json=WORK, headers=OWN)).status_code == 202
    async with client(tmp_path, LAN, anonymous=True) as api:
        assert (await api.post(ASK, json=WORK, headers=anonymous)).status_code == 202
        assert code_of(await api.post(ASK, json=WORK, headers=anonymous | {"origin": EVIL})) == (403, "AnonForbidden")
    async with client(tmp_path) as api:
        for header in ("x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-proto"):
            assert code_of(await api.post(ASK, json=WORK, headers=anonymous | {header: "for=192.0.2.1"})) == (
                403,
                "AnonForbidden",
            )


@pytest.mark.parametrize(
    "headers", [{"origin": EVIL}, {"origin": "null"}, {"origin": "http://127.0.0.1:1"}, {"sec-fetch-site": "cross-site"}]
)
async def test_a_strangers_page_spends_nothing_without_a_key(local: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert code_of(await local.post(ASK, json=WORK, headers=headers | {"apikey": ANONYMOUS})) == (403, "AnonForbidden")
    answer = await local.post(ASK, json=WORK, headers=headers | OWN)
    assert answer.status_code == 202 and answer.headers["access-control-allow-origin"] == "*"


async def test_a_browser_may_ask_first(local: httpx.AsyncClient) -> None:
    asks = {"origin": EVIL, "access-control-request-method": "POST", "access-control-request-headers": "apikey,client-agent"}
    answer = await local.options(ASK, headers=asks | {"access-control-request-private-network": "true"})
    assert answer.status_code == 204 and answer.headers["access-control-allow-origin"] == "*"
    assert {"apikey", "client-agent", "content-type"} <= set(answer.headers["access-control-allow-headers"].split(", "))
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in answer.headers
    native = await local.options("/v1/jobs", headers=asks)
    assert native.status_code == 403 and not [name for name in native.headers if name.startswith("access-control")]


# -- other sites' pages


async def test_a_form_that_another_site_posts(local: httpx.AsyncClient) -> None:
    await local.post("/session", json={"key": KEY})
    for path in ("/v1/stop", "/v1/jobs", "/session"):
        for origin in (EVIL, "null"):
            headers = {"origin": origin, "content-type": "application/x-www-form-urlencoded"}
            assert code_of(await local.post(path, content="prompt=x", headers=headers)) == (403, "foreign_origin")
    plain = await local.post("/v1/jobs", content='{"prompt": "x"}', headers={"content-type": "text/plain"})
    assert plain.status_code == 422


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:4712", "127.0.0.1.evil.example", "", "192.168.1.7", "0.0.0.0", "[::2]:80", "x@127.0.0.1"],
)
async def test_a_name_that_was_pointed_here(local: httpx.AsyncClient, host: str) -> None:
    for path, headers in (("/v1/status", BEARER), (ASK, OWN), ("/health", {}), ("/", {})):
        answer = await local.get(path, headers=headers | {"host": host})
        assert code_of(answer) == (403, "foreign_host")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:4712", "LOCALHOST", "[::1]:4712", "127.8.8.8"])
async def test_own_names(local: httpx.AsyncClient, host: str) -> None:
    assert (await local.get("/health", headers={"host": host})).status_code == 200


def test_this_machine_has_many_addresses() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1")))
    assert not any(
        map(is_loopback, ("192.168.1.9", "::ffff:192.168.1.9", "fe80::1%lo", "", "localhost", "127.0.0.1.evil.example"))
    )


async def test_a_households_names(tmp_path: Path) -> None:
    async with client(tmp_path, LAN, host="0.0.0.0", names=("Studio.local",)) as api:
        for host in ("192.168.1.7:4712", "[fd00::7]:4712", "studio.local:4712", "STUDIO.LOCAL"):
            assert (await api.get("/health", headers={"host": host})).status_code == 200
        for host in ("evil.example", "studio.local.evil.example", "xstudio.local"):
            assert (await api.get("/health", headers={"host": host})).status_code == 403
        page = {"host": "studio.local:4712", "origin": "http://studio.local:4712"}
        assert (await api.post("/session", json={"key": KEY}, headers=page)).status_code == 204


# -- how often


async def test_rates_of_a_shared_key(tmp_path: Path, mock_clock: MockClock) -> None:
    async with client(tmp_path, requests_per_minute=2) as api:
        keys = [{"apikey": await shared_key(api)} for _ in range(2)]
        assert [(await api.post(ASK, json=WORK, headers=keys[0])).status_code for _ in range(3)] == [202, 202, 429]
        refused = await api.post(ASK, json=WORK, headers=keys[0])
        assert refused.json()["rc"] == "TooManyPrompts" and int(refused.headers["retry-after"]) > 20
        assert refused.headers["x-ratelimit-limit"] == "2" and "retry-after" in refused.headers["access-control-expose-headers"]
        assert (await api.post(ASK, json=WORK, headers=keys[1])).status_code == 202
        assert {(await api.post(ASK, json=WORK, headers=OWN)).status_code for _ in range(5)} == {202}
        assert {(await api.post(ASK, json=WORK, headers={"apikey": ANONYMOUS})).status_code for _ in range(5)} == {202}


async def test_rates_of_another_machine(tmp_path: Path, mock_clock: MockClock) -> None:
    async with client(tmp_path, LAN, requests_per_minute=20) as api:
        assert [(await api.post("/session", json={"key": "guess"})).status_code for _ in range(3)] == [401, 401, 429]
        assert code_of(await api.get("/v1/status", headers={"authorization": "Bearer guess"})) == (429, "too_many")
        assert (await api.get("/v1/status", headers=BEARER)).status_code == 200
    async with client(tmp_path, LAN, requests_per_minute=20) as api:
        polls = [(await api.get("/api/v2/status/heartbeat")).status_code for _ in range(410)]
        assert polls[:399] == [200] * 399 and polls[401:] == [429] * 9
        mock_clock.jump(60)
        assert (await api.get("/api/v2/status/heartbeat")).status_code == 200


async def test_rates_of_a_strangers_page(tmp_path: Path, mock_clock: MockClock) -> None:
    async with client(tmp_path, requests_per_minute=2) as api:
        guesses = [(await api.post(ASK, json=WORK, headers={"origin": EVIL, "apikey": "guess"})).status_code for _ in range(3)]
        assert guesses == [401, 401, 429]
        assert (await api.post(ASK, json=WORK, headers={"apikey": ANONYMOUS})).status_code == 202


# -- how much


async def test_bodies_are_bounded_by_path_and_caller(local: httpx.AsyncClient, tmp_path: Path) -> None:
    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 65536 + 1):
            yield bytes(65536)

    json_type = {"content-type": "application/json"}
    for path, headers, most in (
        ("/v1/models", BEARER, MAX_BODY_BYTES),
        ("/session", {}, MAX_BODY_BYTES),
        (ASK, OWN, MAX_REQUEST_BYTES),
    ):
        announced = await local.post(path, content=b"", headers=headers | json_type | {"content-length": str(most + 1)})
        assert announced.status_code == 413
        if most == MAX_BODY_BYTES:
            assert code_of(await local.post(path, content=chunks(most), headers=headers | json_type)) == (413, "too_large")
    async with client(tmp_path, LAN) as api:
        for path in (ASK, "/session"):
            assert (await api.post(path, content=chunks(MAX_STRANGER_BYTES), headers=json_type)).status_code == 413
        unsigned = await api.put("/api/v2/generate/upload/x", content=chunks(MAX_STRANGER_BYTES))
        assert code_of(unsigned) == (403, "Forbidden"), "a worker elsewhere brings its pictures by a signed address"


async def test_a_body_of_countless_values(local: httpx.AsyncClient) -> None:
    bomb = b'{"prompt": "x", "loras": [' + b"{}," * MAX_VALUES + b"{}]}"
    for path, headers in (("/v1/jobs", BEARER), (ASK, OWN)):
        answer = await local.post(path, content=bomb, headers=headers | {"content-type": "application/json"})
        assert answer.status_code == 413 and "values" in answer.text
    nested = b'{"prompt": ' + b"[" * 100_000
    assert (await local.post("/v1/jobs", content=nested, headers=BEARER | {"content-type": "application/json"})).status_code in (
        400,
        422,
    )


async def test_a_large_body_is_read_like_a_small_one(local: httpx.AsyncClient) -> None:
    prompt = {"prompt": "x" * 300_000}
    answer = await local.post("/v1/jobs", json=prompt, headers=BEARER)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "prompt")
    assert (await local.post(ASK, json=prompt, headers=OWN)).json()["errors"]["prompt"].endswith("is too long")
    broken = await local.post(
        "/v1/jobs", content=b'{"prompt": "' + b"x" * 300_000, headers=BEARER | {"content-type": "application/json"}
    )
    assert code_of(broken) == (422, "invalid_json")
    picture = {"prompt": "x", "source": "QUJD" * 100_000}
    assert (await local.post("/v1/jobs", json=picture, headers=BEARER)).status_code == 202


# -- what comes out


async def test_every_answer_tells_the_browser_to_be_careful(local: httpx.AsyncClient) -> None:
    answers = [
        await local.get(path, headers=headers)
        for path, headers in (
            ("/v1/status", BEARER),
            ("/v1/status", {}),
            ("/health", {}),
            ("/nothing", {}),
            ("/api/v2/status/heartbeat", {}),
        )
    ]
    answers += [
        await local.get("/health", headers={"host": "evil.example"}),
        await local.post("/v1/jobs", content=b"{", headers=BEARER),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["content-type"].startswith("application/json")


async def test_html_in_a_peers_label_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"peer_id": FakeNode().peers()[0]["peer_id"], "alias": SCRIPT, "agent": SCRIPT, "roles": ["worker"], "models": [SCRIPT]}
    row |= {"policies": [], "queued": 0, "slots": 1, "max_pixels": 1}
    monkeypatch.setattr(FakeNode, "peers", lambda _: [row])
    async with client(tmp_path) as api:
        for path, headers in (("/v1/peers", BEARER), ("/api/v2/workers", {}), ("/api/v2/users", {})):
            answer = await api.get(path, headers=headers)
            assert SCRIPT in answer.text and answer.headers["content-type"].startswith("application/json")
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/../api.key",
        "/%2e%2e/api.key",
        "/..%2fapi.key",
        "/page/..%5capi.key",
        "/static/%2e%2e%2f%2e%2e%2fapi.key",
        "//etc/passwd",
        "/etc/passwd",
        "/%00",
    ],
)
async def test_no_path_leads_out_of_the_page(local: httpx.AsyncClient, path: str) -> None:
    answer = await local.get(path)
    assert KEY not in answer.text and "root:" not in answer.text
    assert answer.status_code in (400, 404) or answer.headers["content-type"].startswith("text/html")


async def test_prompts_come_back_in_no_refusal(local: httpx.AsyncClient) -> None:
    bodies: list[Any] = [
        {"prompt": [SECRET]},
        {"prompt": SECRET, "params": {"width": SECRET}},
        {"prompt": SECRET, "models": SECRET},
    ]
    for body in bodies:
        for headers in (OWN, {}, {"apikey": "bad"}):
            answer = await local.post(ASK, json=body, headers=headers)
            assert answer.status_code >= 400 and "zebra reads" not in answer.json().get("errors", {}).get("prompt", "")


@pytest.mark.parametrize("path", [ASK, "/session"])
async def test_a_body_that_is_held_back_holds_nothing(local: httpx.AsyncClient, path: str, autojump_clock: MockClock) -> None:
    async def drops(number: int, gap_s: float) -> AsyncIterator[bytes]:
        for _ in range(number):
            await trio.sleep(gap_s)
            yield b" "

    headers = {"content-type": "application/json"} | OWN
    assert (await local.post(path, content=drops(100, 1.0), headers=headers)).status_code == 408
    assert (await local.post(path, content=drops(50, 1.0), headers=headers)).status_code in (400, 422), "slow, but it came"
