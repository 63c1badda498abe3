"""The gateway on a real socket: what the home holds while it runs, live events, readers that go away."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import trio

from meshgen.gateway import events
from meshgen.gateway.process import born_at
from meshgen.gateway.runfile import RunInfo, make_token, read_run, remove_run, write_run
from meshgen.gateway.serve import GatewayError, serve_gateway
from meshgen.home import KEY_FILE, RUN_FILE, TOKEN_FILE
from meshgen.settings import Settings, load_settings
from tests.gateway.fake_node import FakeNode, award, draw

ANY_PORT = load_settings(overrides={"api.port": 0, "requester.pictures_dir": "/pictures"})


@asynccontextmanager
async def serving(node: FakeNode, home: Path, settings: Settings = ANY_PORT) -> AsyncIterator[httpx.AsyncClient]:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve_gateway, node, settings, home)
        headers = {"authorization": f"Bearer {(home / TOKEN_FILE).read_text()}"}
        async with httpx.AsyncClient(base_url=url, headers=headers) as client:
            yield client
        nursery.cancel_scope.cancel()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_home_says_where_the_api_is_while_it_runs(tmp_path: Path) -> None:
    async with serving(FakeNode(), tmp_path) as api:
        info = json.loads((tmp_path / RUN_FILE).read_text())
        assert info == {
            "url": str(api.base_url).rstrip("/"),
            "pid": os.getpid(),
            "token_file": str(tmp_path / TOKEN_FILE),
            "pictures_dir": "/pictures",
            "born": born_at(os.getpid()),
        }
        assert mode(tmp_path / TOKEN_FILE) == 0o600 and mode(tmp_path / RUN_FILE) == 0o600
        assert (await api.get("/v1/status")).status_code == 200
    assert not (tmp_path / RUN_FILE).exists() and not (tmp_path / TOKEN_FILE).exists()


async def test_a_node_of_a_household_is_reached_on_this_machine_too(tmp_path: Path) -> None:
    async with serving(FakeNode(), tmp_path, load_settings(overrides={"api.port": 0, "api.host": "0.0.0.0"})) as api:
        assert api.base_url.host == "127.0.0.1"
        assert (await api.get("/v1/status")).status_code == 200


async def test_keys_that_can_not_be_read_are_explained(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("no key")
    with pytest.RaisesGroup(pytest.RaisesExc(GatewayError, match=r"api\.key holds no key"), flatten_subgroups=True):
        async with serving(FakeNode(), tmp_path):
            pass


def test_each_run_has_its_own_token(tmp_path: Path) -> None:
    tokens = {make_token(tmp_path) for _ in range(3)}
    assert len(tokens) == 3 and all(len(token) >= 43 for token in tokens)
    (tmp_path / TOKEN_FILE).chmod(0o644)
    make_token(tmp_path)
    assert mode(tmp_path / TOKEN_FILE) == 0o600


def test_what_a_killed_node_left_is_recognised(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write_run(tmp_path, RunInfo("http://127.0.0.1:1", dead.pid, "x"))
    info = read_run(tmp_path)
    assert info is not None and not info.alive()
    assert replace(info, pid=os.getpid()).alive()
    unreaped = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert unreaped.stdout is not None and unreaped.stdout.read() == b""  # it has ended
    os.waitid(os.P_PID, unreaped.pid, os.WEXITED | os.WNOWAIT)
    assert not replace(info, pid=unreaped.pid).alive()
    unreaped.wait()
    remove_run(tmp_path, os.getpid())
    assert read_run(tmp_path) == info, "another process's file was removed"
    for damaged in ("", "{", "[]", '{"url": 1}', '{"url": "x", "pid": 1, "token_file": "y", "more": 1}'):
        (tmp_path / RUN_FILE).write_text(damaged)
        assert read_run(tmp_path) is None


async def test_a_taken_port_is_explained(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(GatewayError, match=f"port {port} of 127.0.0.1 is taken; set api.port"):
            await serve_gateway(FakeNode(), load_settings(overrides={"api.port": port}), tmp_path)
    assert not (tmp_path / TOKEN_FILE).exists()


async def test_events_come_live_and_resume_where_they_were_cut(tmp_path: Path) -> None:
    node = FakeNode()
    async with serving(node, tmp_path) as api:
        await api.post("/v1/jobs", json={"prompt": "x", "count": 2})
        job = node.requester.jobs["job1"]
        async with api.stream("GET", "/v1/jobs/job1/events") as stream:
            lines = stream.aiter_lines()
            award(job)
            assert await next_event(lines) == ("1", "state")
            assert await next_event(lines) == ("2", "part")
            job.emit("progress", index=0, step=1, steps=20)
            assert await next_event(lines) == ("3", "progress")
            draw(job, 0)
            assert await next_event(lines) == ("4", "result")
        draw(job, 1)
        job.enter("done")
        async with api.stream("GET", "/v1/jobs/job1/events", headers={"last-event-id": "4"}) as stream:
            lines = stream.aiter_lines()
            assert [await next_event(lines) for _ in range(3)] == [("5", "result"), ("6", "state"), ("7", "end")]
            assert [line async for line in lines if line] == []


async def test_a_silent_job_keeps_the_connection_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.01)
    node = FakeNode()
    async with serving(node, tmp_path) as api:
        await api.post("/v1/jobs", json={"prompt": "x"})
        async with api.stream("GET", "/v1/jobs/job1/events") as stream:
            lines = stream.aiter_lines()
            assert [await anext(lines) for _ in range(4)] == [": still here", "", ": still here", ""]
            node.requester.jobs["job1"].enter("failed", "no worker")
            while (await anext(lines)).startswith(":"):
                await anext(lines)


async def test_a_reader_that_goes_away_is_forgotten(tmp_path: Path) -> None:
    node = FakeNode()
    async with serving(node, tmp_path) as api:
        await api.post("/v1/jobs", json={"prompt": "x"})
        job = node.requester.jobs["job1"]
        async with api.stream("GET", "/v1/jobs/job1/events"):
            assert len(job._followers) == 1
        with trio.fail_after(5):
            while job._followers:  # noqa: ASYNC110
                await trio.sleep(0.001)


async def test_stop_is_answered_before_the_node_goes(tmp_path: Path) -> None:
    node = FakeNode()
    async with trio.open_nursery() as nursery:
        node.request_stop = nursery.cancel_scope.cancel  # type: ignore[method-assign]
        url = await nursery.start(serve_gateway, node, ANY_PORT, tmp_path)
        headers = {"authorization": f"Bearer {(tmp_path / TOKEN_FILE).read_text()}"}
        with trio.CancelScope(shield=True):
            async with httpx.AsyncClient(base_url=url, headers=headers) as client:
                assert (await client.post("/v1/stop")).json() == {"stopping": True}
    assert not (tmp_path / RUN_FILE).exists()


async def next_event(lines: AsyncIterator[str]) -> tuple[str, str]:
    """(id, kind) of the next event."""
    found: dict[str, str] = {}
    async for line in lines:
        if not line and found:
            break
        name, _, value = line.partition(": ")
        found[name] = value
    return found["id"], found["event"]
