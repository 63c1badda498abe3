"""What is changed of Hypercorn: when bytes leave, and how long a connection is kept."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypercorn.config import Config
from starlette.types import ASGIApp, Receive, Scope, Send

from meshgen.gateway.http import SHORT_BYTES, Connection, serve_http

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def answering(*pieces: bytes, length: bool = True, between: trio.Event | None = None) -> ASGIApp:
    """An application that answers with ``pieces``, and waits before the last of them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", str(sum(map(len, pieces))).encode())] if length else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for place, piece in enumerate(pieces):
            last = place == len(pieces) - 1
            if last and between is not None:
                await between.wait()
            await send({"type": "http.response.body", "body": piece, "more_body": not last})

    return app


@asynccontextmanager
async def serving(
    app: ASGIApp, *, idle_s: float = 60.0, grace_s: float = 1.0
) -> AsyncIterator[tuple[trio.SocketStream, trio.CancelScope]]:
    """A connection, and what stops the server."""
    config = Config()
    config.keep_alive_timeout, config.graceful_timeout, config.accesslog = idle_s, grace_s, None
    listener = socket.create_server(("127.0.0.1", 0))
    stop = trio.CancelScope()

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        with stop:
            await serve_http(app, config, listener, task_status=task_status)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            stream = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
            yield stream, stop
            nursery.cancel_scope.cancel()


async def until(stream: trio.SocketStream, end: bytes) -> bytes:
    data = b""
    while end not in data:
        piece = await stream.receive_some()
        assert piece, f"closed after {data!r}"
        data += piece
    return data


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    seen = list[bytes]()
    send_all = trio.SocketStream.send_all

    async def sending(self: trio.SocketStream, data: bytes) -> None:
        seen.append(data)
        await send_all(self, data)

    monkeypatch.setattr(trio.SocketStream, "send_all", sending)
    return seen


async def test_head_and_body_leave_together(writes: list[bytes]) -> None:
    async with serving(answering(b"hello")) as (stream, _):
        await stream.send_all(GET)
        assert (await until(stream, b"hello")).startswith(b"HTTP/1.1 200")
        assert [data[:12] for data in writes] == [GET[:12], b"HTTP/1.1 200"]
        await stream.send_all(GET.replace(b"GET", b"HEAD"))
        assert (await until(stream, b"\r\n\r\n")).endswith(b"\r\n\r\n")
        assert len(writes) == 4


async def test_a_long_body_follows_its_head(writes: list[bytes]) -> None:
    async with serving(answering(bytes(SHORT_BYTES) + b"end!")) as (stream, _):
        await stream.send_all(GET)
        assert (await until(stream, b"end!")).startswith(b"HTTP/1.1 200")
        assert len(writes) == 3


@pytest.mark.parametrize("length", [True, False])
async def test_what_is_streamed_comes_when_it_is_there(length: bool) -> None:
    go_on = trio.Event()
    async with serving(answering(b"first", b"last!", length=length, between=go_on)) as (stream, _):
        await stream.send_all(GET)
        await until(stream, b"first")
        go_on.set()
        await until(stream, b"last!")


async def test_the_head_of_a_stream_does_not_wait_for_its_first_piece() -> None:
    go_on = trio.Event()
    async with serving(answering(b"only", length=False, between=go_on)) as (stream, _):
        await stream.send_all(GET)
        assert b"only" not in await until(stream, b"\r\n\r\n")
        go_on.set()
        await until(stream, b"only")


async def test_a_connection_is_kept_for_a_while_and_then_closed() -> None:
    async with serving(answering(b"hello"), idle_s=0.3) as (stream, _):
        for _ in range(3):
            await stream.send_all(GET)
            await until(stream, b"hello")
        assert await stream.receive_some() == b""


async def test_a_long_answer_is_not_idleness() -> None:
    go_on = trio.Event()
    async with serving(answering(b"first", b"last!", between=go_on), idle_s=0.05) as (stream, _):
        await stream.send_all(GET)
        await until(stream, b"first")
        await trio.sleep(0.2)
        go_on.set()
        await until(stream, b"last!")
        assert await stream.receive_some() == b""


async def test_whoever_hangs_up_is_let_go_of_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    over = trio.Event()

    class Watched(Connection):
        async def run(self) -> None:
            await super().run()
            over.set()

    monkeypatch.setattr("meshgen.gateway.http.Connection", Watched)
    async with serving(answering(b"hello")) as (stream, _):
        await stream.send_all(GET)
        await until(stream, b"hello")
        await stream.aclose()
        await over.wait()


async def test_the_server_stops_with_idle_connections() -> None:
    async with serving(answering(b"hello")) as (stream, stop):
        await stream.send_all(GET)
        await until(stream, b"hello")
        stop.cancel()
        assert await stream.receive_some() == b""
