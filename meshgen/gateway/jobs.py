"""Routes under /v1/jobs: submit, list, follow, fetch, cancel."""

from __future__ import annotations

from typing import Annotated, Any

import trio
from fastapi import APIRouter, Header, Query
from starlette.responses import JSONResponse, Response

from meshgen.gateway.bodies import GenerateBody, job_view, quote_view
from meshgen.gateway.errors import ApiError
from meshgen.gateway.events import JobEvents
from meshgen.gateway.face import NodeFace, RequesterFace
from meshgen.peers.request import Job, RequestError

MAX_WAIT_S = 50.0
STATUS = {"not_ready": 503, "no_worker": 503, "too_many_jobs": 429}
"""What is no fault of the request's content."""


def job_routes(node: NodeFace) -> APIRouter:
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])

    @routes.post("", status_code=202)
    async def submit(body: GenerateBody) -> Response:
        """A job (202); with ``dry_run`` what it would cost (200)."""
        try:
            return _answer(_requester(node), body)
        except RequestError as error:
            raise ApiError(STATUS.get(error.code, 422), error.code, str(error), error.field) from None

    @routes.get("")
    async def list_jobs(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        """The newest first."""
        jobs = list(_requester(node).jobs.values())
        return {"jobs": [job_view(job) for job in reversed(jobs[-limit:])]}

    @routes.get("/{job_id}")
    async def show(
        job_id: str, wait_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="answer when it is over, or so late")] = 0
    ) -> dict[str, Any]:
        job = _job(node, job_id)
        if wait_s:
            with trio.move_on_after(wait_s):
                await job.wait()
        return job_view(job)

    @routes.get("/{job_id}/events")
    async def follow(
        job_id: str, last_event_id: Annotated[int, Header(ge=0, description="resume after this event")] = 0
    ) -> Response:
        return JobEvents(_job(node, job_id), last_event_id)

    @routes.get("/{job_id}/pictures/{index}")
    async def picture(job_id: str, index: int) -> Response:
        found = _job(node, job_id).pictures.get(index)
        if found is None:
            raise ApiError(404, "no_picture", f"job {job_id} has no picture {index} (yet)", "index")
        return Response(found.png, media_type="image/png", headers={"cache-control": "no-store"})

    @routes.delete("/{job_id}", status_code=202)
    async def cancel(job_id: str) -> dict[str, Any]:
        """Pictures that already arrived stay and are paid. Cancelling a finished job changes nothing."""
        job = _job(node, job_id)
        if not job.final:
            job.cancel()
        return job_view(job)

    return routes


def _answer(requester: RequesterFace, body: GenerateBody) -> Response:
    if body.dry_run:
        return JSONResponse(quote_view(requester.quote(body.request())))
    job = requester.submit(body.request())
    return JSONResponse({"id": job.id}, 202, {"Location": f"/v1/jobs/{job.id}"})


def _requester(node: NodeFace) -> RequesterFace:
    if node.requester is None:
        raise ApiError(
            409, "no_requester", "this node asks for no pictures", hint="add requester to node.roles and start it again"
        )
    return node.requester


def _job(node: NodeFace, job_id: str) -> Job:
    job = _requester(node).jobs.get(job_id)
    if job is None:
        raise ApiError(
            404, "no_job", f"there is no job {job_id[:80]}", "id", "jobs are kept until the node stops; see `meshgen jobs`"
        )
    return job
