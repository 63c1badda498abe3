"""Where AI Horde's workers put pictures before they hand in, and fetch those that a form is about: URLs that expire.

At AI Horde that is a store of its own (R2); the workers show no key there, only the URL.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from meshgen.engine.bridge.line import NoPiece
from meshgen.engine.bridge.results import MAX_BYTES
from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.errors import HordeError

PATHS = {"result": "/api/v2/generate/upload", "source": "/api/v2/interrogate/source"}

_Expires = Annotated[int, Query(ge=0, le=2**40)]
_Signature = Annotated[str, Query(max_length=64)]


class Uploads:
    """Signs with a secret of this run's."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._secret = secrets.token_bytes(32)

    def url(self, base: str, kind: str, piece_id: str, ttl_s: int) -> str:
        expires = int(self._now_s()) + ttl_s
        query = f"expires={expires}&signature={self._signature(kind, piece_id, expires)}"
        return f"{base.rstrip('/')}{PATHS[kind]}/{piece_id}?{query}"

    def check(self, kind: str, piece_id: str, expires: int, signature: str) -> None:
        """Raises HordeError."""
        expected = self._signature(kind, piece_id, expires).encode()
        if not hmac.compare_digest(signature.encode(), expected) or expires < self._now_s():
            raise HordeError(403, "Forbidden", "This URL is not valid, or not any more.")

    def _signature(self, kind: str, piece_id: str, expires: int) -> str:
        return hmac.new(self._secret, f"{kind} {piece_id} {expires}".encode(), hashlib.sha256).hexdigest()[:32]


def upload_routes(node: NodeFace, uploads: Uploads) -> APIRouter:
    routes = APIRouter(tags=["horde: workers"])

    @routes.put(PATHS["result"] + "/{piece_id}", response_class=Response)
    async def put(piece_id: str, request: Request, expires: _Expires = 0, signature: _Signature = "") -> Response:
        """A picture, as WebP, PNG or JPEG: before its job is handed in. The last one counts."""
        uploads.check("result", piece_id, expires, signature)  # before a byte of it is read
        data = await request.body()
        if len(data) > MAX_BYTES:
            raise HordeError(413, "TooLong", f"a picture may have at most {MAX_BYTES} bytes")
        if node.bridge is None:
            raise _gone(piece_id)
        try:
            node.bridge.upload(piece_id, data)
        except NoPiece:
            raise _gone(piece_id) from None
        return Response()

    @routes.get(PATHS["source"] + "/{piece_id}", response_class=Response)
    async def source(piece_id: str, expires: _Expires = 0, signature: _Signature = "") -> Response:
        """The picture that a form is about."""
        uploads.check("source", piece_id, expires, signature)
        try:
            data = node.bridge.source(piece_id) if node.bridge else b""
        except NoPiece:
            raise _gone(piece_id) from None
        return Response(data, media_type="application/octet-stream")

    return routes


def _gone(piece_id: str) -> HordeError:
    return HordeError(404, "InvalidJobID", f"Processing Job with ID {piece_id} does not exist.")
