"""What every request must pass before any route sees it: host, origin, key, rate, size.

The API may listen on loopback alone, but a browser on this machine carries strangers' pages. A page that points its own name at
127.0.0.1 (DNS rebinding) sends its name as Host; one that asks across origins sends Origin; neither has a key or a session.

| path | who |
|---|---|
| ``/v1/...`` | the owner: the run's token or the own key as bearer, or a session's cookie |
| ``/v1/images/generations``, GET ``/v1/models`` | any key as bearer, as tools that speak OpenAI's API send it |
| ``/api/v2/...`` | routes ask for the header ``apikey`` themselves; pages of other origins may call, as on AI Horde |
| ``/metrics`` | everybody on this machine; from others the owner, unless api.metrics opens it |
| the rest, to be read; ``/session`` | everybody: the page, its files, ``/health`` |
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import trio
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from meshgen.gateway.bounds import answered, counted, most_bytes
from meshgen.gateway.callers import Caller
from meshgen.gateway.door import READS, SESSION_PATH, Door, may
from meshgen.gateway.errors import error_response
from meshgen.gateway.horde.faults import PREFIX
from meshgen.gateway.limits import LOOK, network_of
from meshgen.gateway.origin import Visit, is_loopback

SIGN_IN_COST = 10.0
CORS = {
    "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    "access-control-allow-headers": "apikey, client-agent, content-type, accept, x-fields, idempotency-key, authorization",
    "access-control-max-age": "600",
}
"""For a browser's question before the call; the answer itself gets the rest, see :mod:`meshgen.gateway.bounds`."""


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            visit = Visit.of(scope)
            caller = self._door.caller(visit, scope)
            most = most_bytes(visit.path, known=caller is not None or visit.local)
            refused = self._refused(visit, caller, most)
            send = answered(visit.path, send)
            if refused:
                # A client that sends on although it was refused, and malformed at that, is answered by Hypercorn itself at the
                # same time: two writers on one socket, which is closed either way.
                with suppress(trio.BusyResourceError):
                    await refused(scope, receive, send)
            else:
                scope["meshgen.caller"] = caller
                is_json = "json" in visit.headers.get("content-type", "")
                await self._app(scope, counted(receive, most, is_json=is_json), send)

    def _refused(self, visit: Visit, caller: Caller | None, most: int) -> Response | None:
        path, headers = visit.path, visit.headers
        if not self._door.is_own_host(headers.get("host", "")):
            return refusal(path, 403, "foreign_host", "this API answers to its own names alone: see api.names")
        if path.startswith(PREFIX):
            if visit.method == "OPTIONS":
                return _preflight(headers)
        elif visit.foreign and "origin" in headers:
            return refusal(path, 403, "foreign_origin", "requests from web pages of other origins are refused")
        if many := self._too_many(visit, caller):
            return many
        if self._door.asks_owner(visit) and not may(caller, visit.method, path):
            return _no_key(caller)
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > most:
            return refusal(path, 413, "too_large", f"a request may have at most {most} bytes")
        return None

    def _too_many(self, visit: Visit, caller: Caller | None) -> Response | None:
        """The owner has no limit, and whoever sits at this machine needs none."""
        if caller is not None and caller.kind != "anonymous":
            who = "" if caller.kind == "owner" else caller.key_id
        elif visit.foreign and is_loopback(visit.address):
            who = visit.headers.get("origin", "another site")[:128]
        else:
            who = "" if visit.local else network_of(visit.address)
        if not who:
            return None
        cost = LOOK if visit.method in READS else SIGN_IN_COST if visit.path == SESSION_PATH else 1.0
        many = self._door.limiter.take(who, cost)
        if many is None:
            return None
        words = f"{many.per_minute} requests a minute are allowed here; try again in {many.retry_s} s"
        code = "TooManyPrompts" if visit.path.startswith(PREFIX) else "too_many"
        return refusal(visit.path, 429, code, words, headers=many.headers)


def refusal(path: str, status: int, code: str, text: str, hint: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """In the shape of that part of the API."""
    if path.startswith(PREFIX):
        return JSONResponse({"message": text, "rc": code}, status, dict(headers or {}))
    answer = error_response(status, code, text, hint=hint)
    answer.headers.update(headers or {})
    return answer


def _no_key(caller: Caller | None) -> Response:
    if caller is not None:
        return error_response(403, "not_owner", "this is the owner's alone: a shared key asks for pictures, and for nothing else")
    hint = "send 'Authorization: Bearer ...' with the text of api.token, or with the key that `meshgen key` shows"
    return error_response(401, "no_token", "the bearer token is missing or wrong", hint=hint)


def _preflight(headers: Headers) -> Response:
    """What a browser asks before it lets a page of another origin call."""
    private = "access-control-request-private-network"
    more = {"access-control-allow-private-network": "true"} if headers.get(private) == "true" else {}
    return Response(status_code=204, headers=CORS | more)
