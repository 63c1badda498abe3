"""Results by URL, for a while: whoever has the URL may fetch the picture, as at AI Horde, and nobody can make one up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Annotated

import trio
from fastapi import APIRouter, Query
from starlette.responses import Response

from meshgen.gateway.horde.errors import HordeError

PREFIX = "/api/v2/pictures"
LIFETIME_S = 1800
"""From when a URL is given; AI Horde's live as long."""
QUALITY = 95
"""AI Horde's workers send WebP of this quality and its clients count on such sizes. Without loss a picture would be five times
as large and take some seconds of encoding; who wants every bit asks for the PNG."""
KEPT_BYTES = 64 * 2**20
ENCODERS = 2
"""Pictures that are encoded at the same time."""
PNG, WEBP = "image/png", "image/webp"
MEDIA = {"png": PNG, "webp": WEBP}

Find = Callable[[str], bytes | None]
"""A generation's id -> its picture as it came, a PNG."""


class Pictures:
    """Signs URLs with a secret of this run's, and keeps what was encoded last."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._encoders = trio.CapacityLimiter(ENCODERS)

    def url(self, base: str, generation_id: str, suffix: str = "webp") -> str:
        """``base``: where the client has reached this node, e.g. ``http://127.0.0.1:4712/``. One URL for half of its life, as
        clients take another URL for another picture."""
        half = LIFETIME_S // 2
        expires = (self._now_ms() // 1000 // half + 2) * half + half
        query = f"expires={expires}&signature={self._signature(generation_id, expires)}"
        return f"{base.rstrip('/')}{PREFIX}/{generation_id}.{suffix}?{query}"

    def is_valid(self, generation_id: str, expires: int, signature: str) -> bool:
        expected = self._signature(generation_id, expires).encode()
        return hmac.compare_digest(signature.encode(), expected) and expires > self._now_ms() // 1000

    async def webp(self, generation_id: str, png: bytes) -> bytes:
        """Without any metadata, as AI Horde's are."""
        found = self._kept.pop(generation_id, None)
        if found is None:
            found = await trio.to_thread.run_sync(partial(to_webp, png), limiter=self._encoders)
        self._kept[generation_id] = found
        while sum(map(len, self._kept.values())) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return found

    async def base64(self, generation_id: str, png: bytes) -> str:
        return base64.b64encode(await self.webp(generation_id, png)).decode()

    def _signature(self, generation_id: str, expires: int) -> str:
        return hmac.new(self._secret, f"{generation_id} {expires}".encode(), hashlib.sha256).hexdigest()[:32]


def to_webp(png: bytes) -> bytes:
    """The requester has seen that it is a whole PNG of a size that it asked for; anything else stays what it is."""
    from PIL import Image

    out = BytesIO()
    try:
        with Image.open(BytesIO(png), formats=("PNG",)) as picture:
            mode = "RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB"
            picture.convert(mode).save(out, "WEBP", quality=QUALITY)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return png
    return out.getvalue()


def picture_routes(pictures: Pictures, find: Find) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, tags=["horde: pictures"])
    answers = {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA.values()}

    @routes.get("/{name}", response_class=Response, responses={200: {"content": answers}})
    async def picture(
        name: str,
        expires: Annotated[int, Query(ge=0, le=2**40)] = 0,
        signature: Annotated[str, Query(max_length=64)] = "",
    ) -> Response:
        """A result, until its URL expires: ``ID.webp``, or with the same query ``ID.png``."""
        generation_id, _, suffix = name.partition(".")
        if not pictures.is_valid(generation_id, expires, signature):
            raise HordeError(403, "Forbidden", "This URL is not valid, or not any more: ask for the request's status again.")
        png = find(generation_id)
        if png is None or suffix not in MEDIA:
            raise HordeError(404, "RequestNotFound", "There is no such picture, or not any more.")
        data = png if suffix == "png" else await pictures.webp(generation_id, png)
        headers = {"cache-control": "private, max-age=1200", "x-content-type-options": "nosniff"}
        return Response(data, media_type=MEDIA[suffix], headers=headers)

    return routes
