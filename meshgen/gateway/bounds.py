"""What goes through the guard: how large a request may be, and what every answer tells the browser."""

from __future__ import annotations

import math

import trio
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Send

from meshgen.gateway.horde.faults import PREFIX

MAX_BODY_BYTES = 1024 * 1024
MAX_REQUEST_BYTES = 72 * 1024 * 1024
"""Of a request for work, or its result: three pictures of 16 MiB, in base64, and words."""
MAX_STRANGER_BYTES = 64 * 1024
"""Of whoever shows no key and is not at this machine."""
BODY_S, BODY_BYTES_PER_S = 60.0, 64 * 1024
"""A request has so long to come, and as long as its bytes take at this rate: who holds it back holds a connection."""
WORK_PATHS = ("/v1/jobs", "/v1/images", PREFIX)

UPLOAD_PATHS = PREFIX + "/generate/upload/"
"""Who puts something here shows a signature in the URL instead of a key: the route looks at it before it reads."""

_ALWAYS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
_PAGE = (
    *_ALWAYS,
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
_HORDE = (
    *_ALWAYS,
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_PAGE_POLICY = (
    b"content-security-policy",
    b"default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    b"frame-ancestors 'none'",
)
"""Where the page's own files say nothing stricter: scripts and styles of this node alone, none within a document."""


MAX_VALUES = 200_000
"""In one JSON document: pictures are few and long, and what is many and short takes thirty times its size to read."""
_MARKS = b",[{"


class TooLarge(HTTPException):
    def __init__(self, most: int, what: str = "bytes") -> None:
        super().__init__(413, f"a request may have at most {most} {what}")


class TooSlow(HTTPException):
    def __init__(self) -> None:
        super().__init__(408, f"the request did not come within {BODY_S:g} seconds", {"connection": "close"})


def most_bytes(path: str, *, known: bool) -> int:
    if not known and not path.startswith(UPLOAD_PATHS):
        return MAX_STRANGER_BYTES
    return MAX_REQUEST_BYTES if path.startswith(WORK_PATHS) else MAX_BODY_BYTES


def counted(receive: Receive, most: int, *, is_json: bool) -> Receive:
    """The body as it comes. Raises TooLarge where there is more, whatever was announced, TooSlow where it comes too slowly."""
    size = values = 0
    begun_s, whole = trio.current_time(), False

    async def receiving() -> Message:
        nonlocal size, values, whole
        until_s = math.inf if whole else begun_s + BODY_S + size / BODY_BYTES_PER_S
        with trio.move_on_at(until_s) as waiting:
            message = await receive()
        if waiting.cancelled_caught:
            raise TooSlow
        whole = not message.get("more_body", False)
        body = message.get("body", b"")
        size += len(body)
        values += len(body) - len(body.translate(None, _MARKS)) if is_json else 0
        if size > most:
            raise TooLarge(most)
        if values > MAX_VALUES:
            raise TooLarge(MAX_VALUES, "values")
        return message

    return receiving


def answered(path: str, send: Send) -> Send:
    """JSON stays JSON, nobody frames it, and scripts that somebody stored in a name or a label run nowhere."""
    horde = path.startswith(PREFIX)
    more = _HORDE if horde else _PAGE
    policy = _API_POLICY if horde or path.startswith("/v1") else _PAGE_POLICY

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name for name, _ in message.get("headers", ())}
            added = [header for header in (*more, policy) if header[0] not in given]
            message["headers"] = [*message.get("headers", ()), *added]
        await send(message)

    return sending
