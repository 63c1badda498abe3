"""Routes about the node, its peers and their models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response

from meshgen.gateway.bodies import CharterBody, ModelBody
from meshgen.gateway.errors import ApiError
from meshgen.gateway.face import NodeFace
from meshgen.gateway.openai import models_list


def mesh_routes(node: NodeFace) -> APIRouter:
    routes = APIRouter(tags=["mesh"])

    @routes.get("/health")
    async def health() -> dict[str, str]:
        """The only answer without a token."""
        return {"status": "ok", "app": "meshgen"}

    @routes.get("/v1/status")
    async def status() -> dict[str, Any]:
        return node.status()

    @routes.post("/v1/selftest")
    async def selftest() -> dict[str, Any]:
        """How the node finds its place in the mesh; puts its advert into the DHT once more. `meshgen doctor` asks for it."""
        return await node.selftest()

    @routes.get("/v1/peers")
    async def peers() -> dict[str, Any]:
        return {"peers": node.peers()}

    @routes.get("/v1/models")
    async def models() -> dict[str, Any]:
        """Also as OpenAI lists its models."""
        found = node.models()
        return found | models_list(found["mesh"])

    @routes.post("/v1/models", status_code=201)
    async def add_model(body: ModelBody) -> dict[str, Any]:
        path = Path(body.path)
        if not path.is_absolute():
            raise ApiError(422, "invalid", "path: must be absolute, because the node runs in a folder of its own", "path")
        try:
            return await trio.to_thread.run_sync(node.add_model, body.name, path)
        except ValueError as error:
            raise ApiError(422, "bad_model", str(error), "path") from None

    @routes.delete("/v1/models/{name}")
    async def remove_model(name: str) -> dict[str, Any]:
        """Its files stay where they are."""
        try:
            node.remove_model(name)
        except KeyError:
            raise ApiError(404, "no_model", f"no model {name[:64]!r} was added to this node", "name") from None
        return {"removed": name}

    _stop_route(routes, node)
    _charter_route(routes, node)
    return routes


def _stop_route(routes: APIRouter, node: NodeFace) -> None:
    @routes.post("/v1/stop", status_code=202)
    async def stop() -> Response:
        async def stop_after_answer() -> None:
            node.request_stop()

        return JSONResponse({"stopping": True}, 202, background=BackgroundTask(stop_after_answer))


def _charter_route(routes: APIRouter, node: NodeFace) -> None:
    @routes.post("/v1/mesh/charter")
    async def adopt_charter(body: CharterBody) -> dict[str, Any]:
        """Bring the next version of the mesh's charter into force, here and at those that are linked."""
        try:
            return await node.adopt_charter(body.text)
        except ValueError as error:
            raise ApiError(422, "bad_charter", str(error), "text") from None
