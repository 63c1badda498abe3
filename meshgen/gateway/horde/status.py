"""How the mesh is, as far as this node sees it: what other peers advertise, and this node's own requests."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from meshgen import __version__
from meshgen.gateway.callers import Keys
from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.bodies import HordeBody
from meshgen.gateway.horde.callers import asking, guarded
from meshgen.gateway.horde.crew import Crew, WorkerType
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.faults import PREFIX
from meshgen.gateway.horde.figures import MINUTE_MS, Figures

ModelType = Literal["image", "text"]
ModelState = Literal["known", "custom", "all"]
Count = Annotated[int | None, Query(ge=0)]


class ModesBody(HordeBody):
    maintenance_mode: bool | None = Field(default=None)
    invite_only_mode: bool | None = Field(default=None)
    raid_mode: bool | None = Field(default=None)


def status_routes(node: NodeFace, keys: Keys, crew: Crew, figures: Figures) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/status", tags=["AI Horde: status"], dependencies=guarded(keys))

    @routes.get("/heartbeat")
    async def heartbeat() -> dict[str, Any]:
        """The version is meshgen's."""
        under_way = len(figures.open("image")) + len(figures.open("text")) + len(figures.open("interrogation"))
        figures_now = {"queue": under_way, "threads": 1, "active_count": under_way, "db_connection": True}
        return {"message": "OK", "version": __version__} | figures_now

    @routes.get("/performance")
    async def performance() -> dict[str, Any]:
        """Workers and their queues as they advertise them; work done and waiting is that of this node's own requests."""
        return _performance(crew, figures)

    @routes.get("/news")
    async def news() -> list[dict[str, Any]]:
        """A mesh has no operator who would publish any."""
        return []

    @routes.get("/modes")
    async def modes() -> dict[str, bool]:
        return {"maintenance_mode": False, "invite_only_mode": False}

    @routes.put("/modes")
    async def set_modes(body: ModesBody, request: Request) -> dict[str, bool]:
        asking(request, keys)
        if body == ModesBody():
            raise HordeError(400, "NoHordeModSelected", "No mod change selected!")
        raise HordeError(403, "NotAdmin", "You're not an admin. Sod off!")

    _model_routes(routes, node, figures)
    return routes


def _model_routes(routes: APIRouter, node: NodeFace, figures: Figures) -> None:
    @routes.get("/models")
    async def models(
        type: ModelType = "image", min_count: Count = None, max_count: Count = None, model_state: ModelState = "all"
    ) -> list[dict[str, Any]]:
        """Models by the number of workers that advertise them. The mesh has no list of known ones: none is custom."""
        rows = [] if model_state == "custom" else _active(node, figures)
        return [
            row
            for row in rows
            if row["type"] == type
            and (min_count is None or row["count"] >= min_count)
            and (max_count is None or row["count"] <= max_count)
        ]

    @routes.get("/models/{model_name:path}")
    async def model(model_name: str) -> list[dict[str, Any]]:
        """Of that name, as a list; one that nobody offers has no workers."""
        found = [row for row in _active(node, figures) if row["name"] == model_name]
        nobody = {"performance": 0.0, "queued": 0.0, "jobs": 0.0, "eta": 0, "type": "image", "name": model_name[:255], "count": 0}
        return found or [nobody]


def _active(node: NodeFace, figures: Figures) -> list[dict[str, Any]]:
    return [_active_model(row, figures) for row in node.models()["mesh"] if row.get("family") != "alchemy"]


def _active_model(row: dict[str, Any], figures: Figures) -> dict[str, Any]:
    kind = "text" if row.get("family") == "text" else "image"
    done = figures.of_model(row["name"], kind)
    speed = done.units / done.seconds if done.seconds else 0.0
    each = done.seconds / done.count if done.count else 0.0
    return {
        "performance": round(speed * (1_000_000 if kind == "image" else 1), 1),
        "queued": float(sum(figures.need(job) for job in figures.open(kind) if job.model == row["name"])),
        "jobs": float(row["queued"]),
        "eta": round(each * row["queued"] / max(1, row["workers"])),
        "type": kind,
        "name": row["name"],
        "count": row["workers"],
    }


def _performance(crew: Crew, figures: Figures) -> dict[str, Any]:
    members = crew.members()

    def workers(kind: WorkerType) -> int:
        return sum(kind in member.offers for member in members)

    def threads(kind: WorkerType) -> int:
        return sum(member.row["slots"] for member in members if kind in member.offers)

    def queued(kind: WorkerType) -> int:
        return sum(member.row["queued"] for member in members if next(iter(member.offers), "") == kind)

    return {
        "queued_requests": queued("image"),
        "queued_text_requests": queued("text"),
        "worker_count": workers("image"),
        "text_worker_count": workers("text"),
        "thread_count": threads("image"),
        "text_thread_count": threads("text"),
        "queued_megapixelsteps": round(figures.waiting("image"), 2),
        "past_minute_megapixelsteps": round(figures.done("image", MINUTE_MS).units, 2),
        "queued_forms": figures.waiting("interrogation"),
        "interrogator_count": workers("interrogation"),
        "interrogator_thread_count": threads("interrogation"),
        "queued_tokens": figures.waiting("text"),
        "past_minute_tokens": figures.done("text", MINUTE_MS).units,
    }
