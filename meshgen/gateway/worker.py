"""Routes under /v1/worker: does it take work, and if not, why; pause and resume."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from meshgen.gateway.errors import ApiError
from meshgen.gateway.face import WorkerFace

MAX_PAUSE_S = 366 * 24 * 3600


class WorkingNode(Protocol):
    @property
    def overseer(self) -> WorkerFace | None:
        """None if this node is no worker."""


class PauseBody(BaseModel):
    """Jobs that were accepted go on to their end, unless ``now`` says otherwise."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    for_s: int = Field(default=0, ge=0, le=MAX_PAUSE_S, description="seconds; 0 = until it is resumed")
    message: str = Field(default="", max_length=120, description="one line, shown in status")
    now: bool = Field(default=False, description="drop what was accepted; its requesters turn to others")


def worker_routes(node: WorkingNode) -> APIRouter:
    routes = APIRouter(prefix="/v1/worker", tags=["worker"])

    @routes.get("")
    async def state() -> dict[str, Any]:
        """Whether it takes work, every reason why not, and the rules in force."""
        return _worker(node).state()

    @routes.post("/pause")
    async def pause(body: PauseBody) -> dict[str, Any]:
        """No new work, through restarts too. A second pause takes the first one's place."""
        worker = _worker(node)
        try:
            worker.pause(body.for_s * 1000, body.message, now=body.now)
        except ValueError as error:
            raise ApiError(422, "invalid", str(error)) from None
        except OSError as error:
            raise _not_kept(error) from None
        return worker.state()

    @routes.post("/resume")
    async def resume() -> dict[str, Any]:
        """End the owner's pause. Hours and ceilings still count: the answer says whether it takes work now."""
        worker = _worker(node)
        try:
            worker.resume()
        except OSError as error:
            raise _not_kept(error) from None
        return worker.state()

    return routes


def _worker(node: WorkingNode) -> WorkerFace:
    if node.overseer is None:
        hint = "add worker to node.roles, install its engine, and start it again; `meshgen doctor` says what is missing"
        raise ApiError(409, "no_worker", "this node does no work for others", hint=hint)
    return node.overseer


def _not_kept(error: OSError) -> ApiError:
    return ApiError(500, "home", f"nothing was changed: the node's home can't be written ({error.strerror})")
