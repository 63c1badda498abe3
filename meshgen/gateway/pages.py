"""The page at ``/``: the files of ``page/``, and nothing that the browser might fetch from elsewhere.

Names come from a listing made once, so that no path leads out of the folder. They are open to anybody who can reach the API: they
hold no secret, and what they show is asked of ``/v1`` with the session.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

FOLDER = "page"
PREFIX = f"/{FOLDER}/"
LIST = f"{PREFIX}files.json"
"""Names all of the others: what a service worker keeps for when the node is not running."""
AT_ROOT = {"index.html": "/", "sw.js": "/sw.js", "manifest.webmanifest": "/manifest.webmanifest"}
"""Files with a path of their own: a service worker is in charge of its folder alone, and that has to be all of the page."""
MEDIA = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    media: str
    data: bytes
    etag: str

    def response(self, known: str) -> Response:
        """``known`` is the request's If-None-Match."""
        headers = HEADERS | {"etag": self.etag}
        if self.etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(self.data, media_type=self.media, headers=headers)


def page_paths() -> frozenset[str]:
    """What needs no session."""
    return frozenset((LIST, *_listing()))


def page_routes() -> APIRouter:
    routes = APIRouter()
    files = _read()

    async def serve(request: Request) -> Response:
        file = files.get(request.scope["path"])
        if file is None:
            raise HTTPException(404, "no such file")
        return file.response(request.headers.get("if-none-match", ""))

    for path in (*AT_ROOT.values(), PREFIX + "{name:path}"):
        routes.add_api_route(path, serve, methods=["GET", "HEAD"], include_in_schema=False)
    return routes


@cache
def _read() -> Mapping[str, PageFile]:
    found = {path: _page_file(MEDIA[_suffix(place)], place.read_bytes()) for path, place in _listing().items()}
    names = json.dumps(sorted(found)).encode()
    return found | {LIST: _page_file("application/json", names)}


def _page_file(media: str, data: bytes) -> PageFile:
    return PageFile(media, data, f'"{sha256(data).hexdigest()[:32]}"')


def _listing() -> dict[str, Traversable]:
    return {AT_ROOT.get(name, PREFIX + name): place for name, place in _walk(files("meshgen.gateway") / FOLDER, "")}


def _walk(folder: Traversable, below: str) -> Iterator[tuple[str, Traversable]]:
    for place in folder.iterdir():
        if place.is_dir():
            yield from _walk(place, f"{below}{place.name}/")
        elif _suffix(place) in MEDIA:
            yield below + place.name, place


def _suffix(place: Traversable) -> str:
    return place.name.rpartition(".")[2]
