"""Signing in to the page: the owner's key, or a code that works once, becomes a cookie.

The cookie is signed with the owner's key rather than kept: it outlives a restart of the node, and a new key ends all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from meshgen.gateway.bodies import Body
from meshgen.gateway.errors import ApiError
from meshgen.gateway.keys import KeyRing

SESSION_S = 30 * 24 * 3600
CODE_S = 300
MAX_CODES = 16
MAX_ENDED = 1024
_PURPOSE = b"meshgen/session/1\0"


class SignIn(Body):
    """One of the two."""

    key: Annotated[str, Field(max_length=256, repr=False)] = ""
    code: Annotated[str, Field(max_length=64, repr=False, description="from `meshgen page`; works once")] = ""


class Sessions:
    def __init__(self, owner_key: str, now_s: Callable[[], float] = time.time) -> None:
        self._secret = hashlib.sha256(_PURPOSE + owner_key.encode()).digest()
        self._now_s = now_s
        self._codes: dict[str, float] = {}
        self._ended: dict[str, None] = {}

    def new(self) -> str:
        """A cookie's value: until when, what makes it unlike others, the signature."""
        text = f"{int(self._now_s()) + SESSION_S}.{secrets.token_urlsafe(12)}"
        return f"{text}.{self._signature(text)}"

    def holds(self, value: str) -> bool:
        text, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            return False
        return int(text.partition(".")[0]) > self._now_s() and value not in self._ended

    def end(self, value: str) -> None:
        """Forgotten at the node's next start: a key that leaked is to be changed."""
        if self.holds(value):
            self._ended[value] = None
            while len(self._ended) > MAX_ENDED:
                del self._ended[next(iter(self._ended))]

    def new_code(self) -> str:
        while len(self._codes) >= MAX_CODES:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(16)
        self._codes[code] = self._now_s() + CODE_S
        return code

    def use_code(self, code: str) -> bool:
        return self._codes.pop(code, 0.0) > self._now_s()

    def _signature(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


def session_routes(keys: KeyRing, sessions: Sessions) -> APIRouter:
    routes = APIRouter(tags=["session"])

    @routes.get("/session")
    async def show(request: Request) -> dict[str, bool]:
        return {"signed_in": sessions.holds(cookie_of(request.scope, request.headers.get("cookie", "")))}

    @routes.post("/session", status_code=204)
    async def sign_in(body: SignIn, request: Request) -> Response:
        by_key = body.key and (caller := keys.caller(body.key, local=False)) and caller.kind == "owner"
        if not by_key and not sessions.use_code(body.code):
            hint = "`meshgen key` shows the key; `meshgen page` opens the page with a fresh code"
            raise ApiError(401, "no_sign_in", "that key is not this node's, or the code was used or is too old", hint=hint)
        answer = Response(status_code=204)
        _set(answer, request, sessions.new(), SESSION_S)
        return answer

    @routes.delete("/session", status_code=204)
    async def sign_out(request: Request) -> Response:
        sessions.end(cookie_of(request.scope, request.headers.get("cookie", "")))
        answer = Response(status_code=204)
        _set(answer, request, "", 0)
        return answer

    @routes.post("/v1/session/code", status_code=201)
    async def code() -> Response:
        """A code for POST /session, good once and for five minutes: how a program signs a browser in."""
        return JSONResponse({"code": sessions.new_code(), "expires_s": CODE_S}, 201, {"cache-control": "no-store"})

    return routes


def _set(answer: Response, request: Request, value: str, max_age: int) -> None:
    secure = request.url.scheme == "https"
    name = cookie_name(request.scope)
    answer.set_cookie(name, value, max_age, path="/", secure=secure, httponly=True, samesite="strict")


def cookie_name(scope: Scope) -> str:
    """Browsers keep cookies by host, whatever the port: two nodes of one machine must not sign each other out."""
    server = scope.get("server")
    return f"meshgen-{server[1] if server else 0}"


def cookie_of(scope: Scope, header: str) -> str:
    """The session's cookie; empty if there is none. Other servers of this machine set theirs here too, odd ones among them."""
    return cookie_parser(header).get(cookie_name(scope), "") if header else ""
