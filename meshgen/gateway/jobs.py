"""Routes under /v1/jobs: submit, list, follow, fetch, cancel."""

from __future__ import annotations

from typing import Annotated, Any

import trio
from fastapi import APIRouter, Header, Query
from starlette.responses import JSONResponse, Response

from meshgen.gateway.bodies import job_view, quote_view
from meshgen.gateway.errors import ApiError
from meshgen.gateway.events import JobEvents
from meshgen.gateway.face import NodeFace, RequesterFace
from meshgen.gateway.large import LargeRoute
from meshgen.gateway.requests import FormBody, GenerateBody, TextBody
from meshgen.peers.job import Job
from meshgen.peers.request import RequestError

MAX_WAIT_S = 50.0
STATUS = {"not_ready": 503, "no_worker": 503, "no_adapter": 503, "too_many_jobs": 429}
"""What is no fault of the request's content."""
RESULTS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}} for media in ("image/png", "text/plain", "application/json")
        }
    }
}
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
QUOTED: dict[int | str, dict[str, Any]] = {200: {"description": "what it would cost", "model": dict[str, Any]}}


def job_routes(node: NodeFace) -> APIRouter:
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=LargeRoute)

    _submit_routes(routes, node)

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

    @routes.get("/{job_id}/events", response_class=Response, responses=EVENTS)
    async def follow(
        job_id: str, last_event_id: Annotated[int, Header(ge=0, description="resume after this event")] = 0
    ) -> Response:
        return JobEvents(_job(node, job_id), last_event_id)

    @routes.get("/{job_id}/results/{index}", response_class=Response, responses=RESULTS)
    async def result(job_id: str, index: int) -> Response:
        """A picture, a text, or what a form found."""
        found = _job(node, job_id).results.get(index)
        if found is None:
            raise ApiError(404, "no_result", f"job {job_id} has no result {index} (yet)", "index")
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        return Response(found.data, media_type=found.media, headers=headers)

    @routes.delete("/{job_id}", status_code=202)
    async def cancel(job_id: str) -> dict[str, Any]:
        """What already arrived stays and is paid. Cancelling a finished job changes nothing."""
        job = _job(node, job_id)
        if not job.final:
            job.cancel()
        return job_view(job)

    return routes


def _submit_routes(routes: APIRouter, node: NodeFace) -> None:
    @routes.post("", status_code=202, responses=QUOTED)
    async def submit(body: GenerateBody) -> Response:
        """A job (202); with ``dry_run`` what it would cost (200)."""
        return _answer(node, body)

    @routes.post("/text", status_code=202, responses=QUOTED)
    async def write(body: TextBody) -> Response:
        """The same for texts."""
        return _answer(node, body)

    @routes.post("/form", status_code=202, responses=QUOTED)
    async def alchemy(body: FormBody) -> Response:
        """The same for a form of alchemy."""
        return _answer(node, body)


def _answer(node: NodeFace, body: GenerateBody | TextBody | FormBody) -> Response:
    requester, request = _requester(node), body.request()
    try:
        if body.dry_run:
            return JSONResponse(quote_view(requester.quote(request)))
        job = requester.submit(request)
    except RequestError as error:
        raise ApiError(STATUS.get(error.code, 422), error.code, str(error), error.field) from None
    return JSONResponse({"id": job.id}, 202, {"Location": f"/v1/jobs/{job.id}"})


def _requester(node: NodeFace) -> RequesterFace:
    if node.requester is None:
        raise ApiError(409, "no_requester", "this node asks for nothing", hint="add requester to node.roles and start it again")
    return node.requester


def _job(node: NodeFace, job_id: str) -> Job:
    job = _requester(node).jobs.get(job_id)
    if job is None:
        raise ApiError(
            404, "no_job", f"there is no job {job_id[:80]}", "id", "jobs are kept until the node stops; see `meshgen jobs`"
        )
    return job
