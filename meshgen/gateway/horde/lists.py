"""Lists that are empty on a mesh: teams, styles, collections. Nobody keeps them for all."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.faults import PREFIX

ONE = {
    "/teams/{name}": ("TeamNotFound", "Team with ID"),
    "/styles/image/{name}": ("StyleNotFound", "Style with ID"),
    "/styles/text/{name}": ("StyleNotFound", "Style with ID"),
    "/styles/image_by_name/{name}": ("StyleNotFound", "Style with name"),
    "/styles/text_by_name/{name}": ("StyleNotFound", "Style with name"),
    "/collections/{name}": ("CollectionNotFound", "Collection with ID"),
    "/collection_by_name/{name}": ("CollectionNotFound", "Collection with name"),
}


def list_routes() -> APIRouter:
    routes = APIRouter(prefix=PREFIX, tags=["AI Horde: lists"])
    for path in ("/teams", "/styles/image", "/styles/text", "/collections"):
        routes.add_api_route(path, _none, methods=["GET"], name=path)
    for path, (rc, what) in ONE.items():
        routes.add_api_route(path, _not_found(rc, what), methods=["GET"], name=path)
    return routes


async def _none() -> list[dict[str, Any]]:
    return []


def _not_found(rc: str, what: str) -> Any:
    async def missing(name: str) -> dict[str, Any]:
        raise HordeError(404, rc, f"{what} '{name[:100]}' not found.")

    return missing
