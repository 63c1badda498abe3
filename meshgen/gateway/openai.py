"""OpenAI's images API, as many programs speak it: ``POST /v1/images/generations``. Its list of models is at ``/v1/models``."""

from __future__ import annotations

import base64
import re
import time
from io import BytesIO
from typing import Annotated, Any, Literal

import trio
from fastapi import APIRouter, Request
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from meshgen.gateway.callers import ANONYMOUS, Keys
from meshgen.gateway.errors import ApiError
from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.desk import Desk, Terms
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.intake import Intake
from meshgen.gateway.requests import MAX_PROMPT
from meshgen.peers.job import Finished, Job
from meshgen.peers.request import ImageRequest
from meshgen.protocols.offer import MAX_STEPS

MAX_PICTURES = 10
STEPS = {"low": 10, "medium": 20, "standard": 20, "auto": 20, "high": 40, "hd": 40}
FOREIGN_MODELS = re.compile(r"dall-e.*|gpt-image.*|auto")
"""What programs ask for when nobody chose a model: the mesh's default stands in."""
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 503: "server_error"}


class ImagesBody(BaseModel):
    """Fields that the mesh has no use for are passed over: programs send what they know."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, hide_input_in_errors=True)
    prompt: str = Field(min_length=1, max_length=MAX_PROMPT, repr=False)
    model: str = Field(default="", max_length=64)
    n: int | None = Field(default=1, ge=1, le=MAX_PICTURES)
    size: str | None = Field(default="auto", max_length=16, description="WIDTHxHEIGHT in pixels, or auto")
    quality: Literal["auto", "low", "medium", "high", "standard", "hd"] | None = Field(
        default="auto", description="how many steps"
    )
    response_format: Literal["url", "b64_json"] | None = Field(default=None, description="null = both")
    output_format: Literal["png", "jpeg", "webp"] | None = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = 95
    negative_prompt: str = Field(default="", max_length=MAX_PROMPT, repr=False)
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS, description="instead of quality")
    guidance_scale: float = Field(default=5.0, ge=0, le=100)
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)

    def request(self) -> ImageRequest:
        """Raises ApiError."""
        width, height = _sides(self.size or "auto")
        return ImageRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            model="" if FOREIGN_MODELS.fullmatch(self.model) else self.model,
            width=width,
            height=height,
            steps=self.steps or STEPS[self.quality or "auto"],
            guidance_scale=self.guidance_scale,
            seed=self.seed,
            count=self.n or 1,
        )


def openai_routes(node: NodeFace, keys: Keys, desk: Desk) -> APIRouter:
    intake = Intake(node, keys, desk)
    routes = APIRouter(prefix="/v1/images", tags=["OpenAI"])

    @routes.post("/generations")
    async def generations(body: ImagesBody, request: Request) -> Response:
        """Answers when the pictures are there. Who hangs up cancels them."""
        caller = request.scope.get("meshgen.caller") or ANONYMOUS
        try:
            wish = body.request()
            asked = intake.take(caller, "image", [wish], Terms(), intake.price(wish), patience_s=None)
        except HordeError as error:
            return _refused(error.status, error.rc, str(error))
        except ApiError as error:
            return _refused(error.status, error.code, str(error), error.field)
        (job,) = asked.jobs
        await _awaited(job, request)
        if job.state != "done":
            return _refused(503, "not_drawn", job.error or "the job was cancelled")
        base = str(request.base_url)
        data = [await _one(body, one.result, desk.pictures.url(base, one.id, "png")) for one in asked.generations()]
        return JSONResponse({"created": int(time.time()), "data": data})

    return routes


def models_list(mesh: list[dict[str, Any]]) -> dict[str, Any]:
    """The mesh's models as OpenAI lists its own."""
    data = [{"id": model["name"], "object": "model", "created": 0, "owned_by": "mesh"} for model in mesh]
    return {"object": "list", "data": data}


def _sides(size: str) -> tuple[int, int]:
    if size == "auto":
        return 0, 0
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if not found:
        raise ApiError(400, "invalid", "size: WIDTHxHEIGHT in pixels is expected, such as 1024x1024, or auto", "size")
    return int(found[1]), int(found[2])


async def _awaited(job: Job, request: Request) -> None:
    async def cancel_when_alone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        job.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_when_alone)
        await job.wait()
        nursery.cancel_scope.cancel()


async def _one(body: ImagesBody, result: Finished, url: str) -> dict[str, str]:
    found = {"url": url} if body.response_format != "b64_json" else {}
    if body.response_format != "url":
        data = await trio.to_thread.run_sync(_as, result.data, body.output_format or "png", body.output_compression)
        found["b64_json"] = base64.b64encode(data).decode()
    return found


def _as(png: bytes, form: str, quality: int | None) -> bytes:
    if form == "png":
        return png
    file = BytesIO()
    with Image.open(BytesIO(png)) as picture:
        picture.convert("RGB").save(file, form, quality=95 if quality is None else quality)
    return file.getvalue()


def _refused(status: int, code: str, message: str, field: str = "") -> Response:
    """OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""
    what = {"message": message, "type": TYPES.get(status, "invalid_request_error"), "param": field or None, "code": code}
    return JSONResponse({"error": what}, status)
