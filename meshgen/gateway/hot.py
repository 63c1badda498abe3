"""What clients ask every second, for every job: answered before any of some hundred routes is looked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

Look = Callable[[str], Mapping[str, Any] | None]
"""From the path's last word to the document; None leaves it to the routes, which say what is wrong."""


class Hot:
    """ASGI middleware, within the guard. ``looks`` are by folder; a route of the same path describes each."""

    def __init__(self, app: ASGIApp, looks: Mapping[str, Look]) -> None:
        self._app, self._looks = app, looks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._look(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        body = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
        headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _look(self, scope: Scope) -> Mapping[str, Any] | None:
        folder, _, name = scope["path"].rpartition("/")
        look = self._looks.get(folder)
        return look(name) if look else None
