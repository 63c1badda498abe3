"""Workers are peers of the mesh. The owner puts the own one into maintenance; others' are theirs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from meshgen.gateway.callers import Keys
from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.bodies import HordeBody
from meshgen.gateway.horde.bridged import bridged_workers
from meshgen.gateway.horde.callers import asking, guarded, owner_asking
from meshgen.gateway.horde.crew import Crew, CrewMember, WorkerType
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.faults import PREFIX
from meshgen.gateway.horde.people import People

MAX_MESSAGE = 120


class WorkerBody(HordeBody):
    maintenance: bool | None = None
    maintenance_msg: str | None = Field(default=None, max_length=1000)
    paused: bool | None = None
    info: str | None = Field(default=None, max_length=1000)
    name: str | None = Field(default=None, min_length=5, max_length=100)
    team: str | None = Field(default=None, max_length=36)


def worker_routes(node: NodeFace, keys: Keys, crew: Crew, people: People) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/workers", tags=["AI Horde: workers"], dependencies=guarded(keys))

    @routes.get("")
    async def workers(
        type: WorkerType | Literal["", "all"] = "", name: Annotated[str, Query(max_length=255)] = ""
    ) -> list[dict[str, Any]]:
        """A peer that does several types of work is named under each that is asked for; where none is, once."""
        if type in ("", "all"):
            found = [crew.details(member) for member in crew.members()]
        else:
            found = [crew.details(member, type) for member in crew.members() if type in member.offers]
        found += [row for row in bridged_workers(node, people) if type in ("", "all", row["type"])]
        return [row for row in found if not name or row["name"].casefold() == name.casefold()]

    _message_routes(routes, keys)

    @routes.get("/name/{worker_name}")
    async def by_name(worker_name: str) -> dict[str, Any]:
        bridged = (row for row in bridged_workers(node, people) if row["name"].casefold() == worker_name.casefold())
        if found := next(bridged, None):
            return found
        member = crew.by_name(worker_name)
        if member is None:
            raise HordeError(404, "WorkerNotFound", f"Worker with name '{worker_name[:100]}' not found.")
        return crew.details(member)

    @routes.get("/{worker_id}")
    async def by_id(worker_id: str) -> dict[str, Any]:
        bridged = (row for row in bridged_workers(node, people) if row["id"] == worker_id)
        return next(bridged, None) or crew.details(_known(crew, worker_id))

    _change_routes(routes, node, keys, crew)
    return routes


def _change_routes(routes: APIRouter, node: NodeFace, keys: Keys, crew: Crew) -> None:
    @routes.put("/{worker_id}")
    async def change(worker_id: str, body: WorkerBody, request: Request) -> dict[str, Any]:
        """Maintenance is the mesh's pause: no new work, through restarts too."""
        member = _own(request, keys, _known(crew, worker_id))
        if body.paused is not None:
            raise HordeError(403, "NotModerator", "Only a moderator may pause a worker. Put it into maintenance instead.")
        if body.name is not None or body.info is not None or body.team is not None:
            raise HordeError(400, "BadRequest", "A worker is called by node.alias in its settings; it has no info or team.")
        if body.maintenance is None:
            raise HordeError(400, "NoWorkerModSelected", "No worker modification selected!")
        _maintain(node, body.maintenance, body.maintenance_msg or "")
        return {"maintenance": body.maintenance, "name": member.name}

    @routes.delete("/{worker_id}")
    async def remove(worker_id: str, request: Request) -> dict[str, Any]:
        """It takes no more work. What it earned stays in the log, and maintenance false brings it back."""
        member = _own(request, keys, _known(crew, worker_id))
        _maintain(node, True, "")
        return {"deleted_id": member.id, "deleted_name": member.name}


def _message_routes(routes: APIRouter, keys: Keys) -> None:
    @routes.get("/messages")
    async def messages(request: Request) -> list[dict[str, Any]]:
        """Moderators send them; a mesh has none."""
        asking(request, keys)
        return []

    @routes.post("/messages")
    async def send(request: Request) -> dict[str, Any]:
        asking(request, keys)
        raise HordeError(403, "NotModerator", "You're not a mod. Sod off!")

    @routes.get("/messages/{message_id}")
    @routes.delete("/messages/{message_id}")
    async def message(message_id: str) -> dict[str, Any]:
        raise HordeError(404, "NotFound", f"Message with ID '{message_id[:64]}' not found.")


def _known(crew: Crew, worker_id: str) -> CrewMember:
    member = crew.by_id(worker_id)
    if member is None:
        raise HordeError(404, "WorkerNotFound", f"Worker with ID '{worker_id[:64]}' not found.")
    return member


def _own(request: Request, keys: Keys, member: CrewMember) -> CrewMember:
    owner_asking(request, keys)
    if not member.own:
        raise HordeError(403, "NotOwner", f"This is not your worker: {member.name} belongs to somebody else.")
    return member


def _maintain(node: NodeFace, maintenance: bool, message: str) -> None:
    if node.overseer is None:
        raise HordeError(404, "WorkerNotFound", "This node does no work for others.")
    try:
        if maintenance:
            node.overseer.pause(0, " ".join(message.split())[:MAX_MESSAGE])
        else:
            node.overseer.resume()
    except (ValueError, OSError) as error:
        raise HordeError(400, "BadRequest", f"Nothing was changed: {error}") from None
