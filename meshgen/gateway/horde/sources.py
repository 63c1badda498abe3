"""Pictures that go in, in every form that clients send: base64 with or without a prefix, or a URL."""

from __future__ import annotations

import base64
import binascii
import re

import trio

from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.fetching import Connect, FetchError, Resolve, connect_to, fetch_picture, resolve_name
from meshgen.pictures import MAX_SIDE, PictureError, check_kind, measure
from meshgen.protocols.order import MAX_INPUT_BYTES

LARGE = 256 * 1024
"""Characters. Less is decoded at once: a thread takes longer to begin."""
INVALID = (
    "Image validation failed. Please ensure the source image payload is either a URL containing an image or a valid base64 "
    "encoded image."
)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_PREFIX = re.compile(r"data:[^,]{0,100},")


class Sources:
    """Reads what a request names as its pictures. ``resolve`` and ``connect`` are how the web is reached."""

    def __init__(self, *, resolve: Resolve = resolve_name, connect: Connect = connect_to) -> None:
        self._resolve, self._connect = resolve, connect

    async def read(self, text: str) -> bytes:
        """The encoded picture, measured but not decoded; nothing for no text. Raises HordeError."""
        if not text:
            return b""
        if text[:8].lower().startswith(("http://", "https://")):
            data = await self._fetched(text)
        else:
            data = await trio.to_thread.run_sync(_decoded, text) if len(text) >= LARGE else _decoded(text)
        if len(data) > MAX_INPUT_BYTES:
            raise HordeError(400, "SourceImageSizeExceeded", f"A source image has at most {MAX_INPUT_BYTES} bytes.")
        _check(data)
        return data

    async def _fetched(self, url: str) -> bytes:
        try:
            return await fetch_picture(url, resolve=self._resolve, connect=self._connect)
        except FetchError as error:
            raise HordeError(400, "SourceImageUrlInvalid", f"The source image's URL could not be fetched: {error}.") from None


def _decoded(text: str) -> bytes:
    plain = "".join(_PREFIX.sub("", text, count=1).split()).rstrip("=")
    try:
        return base64.b64decode(plain.encode("ascii").translate(_URL_SAFE) + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise HordeError(400, "ImageValidationFailed", INVALID) from None


def _check(data: bytes) -> None:
    try:
        check_kind(data)
    except PictureError:
        raise HordeError(400, "ImageValidationFailed", INVALID) from None
    try:
        measure(data)
    except PictureError as error:
        large = str(MAX_SIDE) in str(error)
        rc = "SourceImageResolutionExceeded" if large else "SourceImageUnreadable"
        raise HordeError(400, rc, f"The source image can't be used: {error}.") from None
