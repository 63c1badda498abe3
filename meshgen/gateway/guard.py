"""What every request must pass before any route sees it: host, origin, token, size.

The API listens on loopback, but a browser on this machine carries strangers' pages. A page that points its own name at 127.0.0.1
(DNS rebinding) sends its name as Host; one that posts across origins sends Origin; neither knows the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from contextlib import suppress

import trio
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshgen.gateway.errors import error_response

MAX_BODY_BYTES = 1024 * 1024
MAX_REQUEST_BYTES = 72 * 1024 * 1024
"""Of a request for work: three pictures of 16 MiB, in base64, and words."""
WORK_PATHS = "/v1/jobs"
OPEN_PATHS = ("/health",)


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._bearer = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refusal = self._refusal(scope["path"], Headers(scope=scope))
            most = max_bytes(scope["path"])
            body = None if refusal else await _read_body(receive, most)
            if body is None:
                # A client that sends on although it was refused, and malformed at that, is answered by Hypercorn itself at the
                # same time: two writers on one socket, which is closed either way.
                with suppress(trio.BusyResourceError):
                    await (refusal or _too_large(most))(scope, receive, send)
            else:
                await self._app(scope, _replay(body, receive), send)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        if not is_own_host(headers.get("host", "")):
            return error_response(403, "foreign_host", "this API answers only to 127.0.0.1 and localhost")
        if "origin" in headers and headers["origin"] != f"http://{headers.get('host')}":
            return error_response(403, "foreign_origin", "requests from web pages of other origins are refused")
        if path in OPEN_PATHS:
            return None
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self._bearer):
            return error_response(
                401,
                "no_token",
                "the bearer token is missing or wrong",
                hint="send 'Authorization: Bearer ...' with the text of api.token",
            )
        if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > max_bytes(path):
            return _too_large(max_bytes(path))
        return None


def is_own_host(host: str) -> bool:
    """Is this Host header a loopback name, with or without a port?"""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def max_bytes(path: str) -> int:
    return MAX_REQUEST_BYTES if path.startswith(WORK_PATHS) else MAX_BODY_BYTES


def _too_large(most: int) -> JSONResponse:
    return error_response(413, "too_large", f"a request may have at most {most} bytes")


async def _read_body(receive: Receive, most: int) -> bytes | None:
    """The whole body, or None if it is over the limit."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > most:
            return None
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever comes: the end of the connection."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed
