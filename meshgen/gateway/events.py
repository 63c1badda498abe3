"""A job's events as server-sent events: ids to resume by, comments that keep the connection alive, ends with the job."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import suppress

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from meshgen.peers.job import Job, JobEvent

KEEP_ALIVE_S = 15.0
KEEP_ALIVE = b": still here\n\n"


class JobEvents(Response):
    """Events after ``after``, until the job ends or the reader goes away."""

    media_type = "text/event-stream"

    def __init__(self, job: Job, after: int) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._job, self._after = job, after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, receive, nursery.cancel_scope)
            async with self._job.follow(self._after) as events:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await _send_all(events, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()


async def _send_all(events: trio.MemoryReceiveChannel[JobEvent], send: Send) -> None:
    while True:
        text = KEEP_ALIVE
        with trio.move_on_after(KEEP_ALIVE_S):
            event = await anext(events, None)
            if event is None:
                return
            text = encode(event) + b"".join(map(encode, _at_hand(events)))
        await send({"type": "http.response.body", "body": text, "more_body": True})


def _at_hand(events: trio.MemoryReceiveChannel[JobEvent]) -> Iterator[JobEvent]:
    """What else has happened by now: each write costs more than what it carries."""
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            yield events.receive_nowait()


async def _watch(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def encode(event: JobEvent) -> bytes:
    data = json.dumps(event.data, separators=(",", ":"), default=_base64)
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {data}\n\n".encode()


def _base64(value: object) -> str:
    """A preview's JPEG."""
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return base64.b64encode(value).decode()
