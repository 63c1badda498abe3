"""HTTP by Hypercorn, less what costs it most for a small answer: clients that wait for a picture ask every second.

Hypercorn writes an answer in three pieces, each a system call, and starts and ends a task a request that waits whether another
one comes. Here head and body leave together, and one task a connection waits, and looks now and then.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Event, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from starlette.types import ASGIApp

SHORT_BYTES = 64 * 1024
"""A longer body is not worth copying for a head."""


class Idle:
    """Stands in for the task that Hypercorn starts anew: when a connection on which nothing is asked shall close.

    A request only writes down a time; whoever waits for it looks again then."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._until_s = math.inf
        self._scope: trio.CancelScope | None = None

    @property
    def is_over(self) -> bool:
        return trio.current_time() >= self._until_s

    @property
    def is_idle(self) -> bool:
        return self._until_s < math.inf

    async def restart(self, task_group: Any, close: Callable[[], Awaitable[None]]) -> None:
        self._until_s = trio.current_time() + self._timeout_s
        if self._scope is None:
            self._scope = trio.CancelScope()
            task_group.spawn(close)

    async def stop(self) -> None:
        self._until_s = math.inf

    def end(self) -> None:
        """The client has gone."""
        self._until_s = -math.inf
        if self._scope is not None:
            self._scope.cancel()

    async def wait(self, terminated: Callable[[], Awaitable[None]]) -> None:
        """Until it may have been idle for too long, or the server ends."""
        look_s = min(self._until_s, trio.current_time() + self._timeout_s)
        with trio.CancelScope(deadline=look_s) as self._scope:
            await terminated()


class Connection(TCPServer):  # type: ignore[misc]
    """One client's."""

    def __init__(self, app: Any, config: Config, context: Any, stream: trio.SocketStream) -> None:
        super().__init__(app, config, context, {}, stream)
        self.idle_task: Any = Idle(config.keep_alive_timeout)
        self._head = b""

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
        elif not self._head and _is_head(event.data):
            self._head = event.data  # what announces a body is followed by it, or by an empty piece
        else:
            await self._send(event.data)

    async def _send(self, data: bytes) -> None:
        head, self._head = self._head, b""
        pieces = [head, data] if len(data) > SHORT_BYTES else [head + data]
        for piece in filter(None, pieces):
            await super().protocol_send(RawData(piece))

    async def _read_data(self) -> None:
        await super()._read_data()
        self.idle_task.end()

    async def _idle_timeout(self) -> None:
        terminated, idle = self.context.terminated, self.idle_task
        while not idle.is_over and not terminated.is_set():
            await idle.wait(terminated.wait)
        if idle.is_idle:  # else the server ends, and with it the connection once its answer is given
            with trio.CancelScope(shield=True):
                await self._initiate_server_close()


def _is_head(data: bytes) -> bool:
    return data.startswith(b"HTTP/1.1 ") and b"\r\ncontent-length: " in data


async def serve_http(
    app: ASGIApp, config: Config, listener: socket.socket, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve on a bound socket until cancelled; answers under way have ``config.graceful_timeout`` seconds then."""
    context = WorkerContext(None)
    listener.listen(config.backlog)
    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    connect = partial(Connection, ASGIWrapper(app), config, context)
    async with accepting, trio.open_nursery() as connections:
        try:
            await trio.serve_listeners(connect, [accepting], handler_nursery=connections, task_status=cast(Any, task_status))
        finally:
            await context.terminated.set()
            connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
