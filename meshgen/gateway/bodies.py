"""What people send, with bounds, and a job as they see it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from meshgen.peers.charter_file import MAX_TEXT_BYTES
from meshgen.peers.request import ImageRequest, Job
from meshgen.peers.supply import Quote
from meshgen.protocols.offer import MAX_COUNT, MAX_SIDE, MAX_STEPS

MAX_PROMPT = 8000  # characters: models read 77 to 512 tokens


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class GenerateBody(Body):
    """A request for pictures. 0 or an empty text leaves a choice to the model or the settings."""

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT, repr=False)
    negative_prompt: str = Field(default="", max_length=MAX_PROMPT, repr=False)
    model: str = Field(default="", max_length=64)
    width: int = Field(default=0, ge=0, le=MAX_SIDE, multiple_of=8, description="pixels")
    height: int = Field(default=0, ge=0, le=MAX_SIDE, multiple_of=8, description="pixels")
    steps: int = Field(default=20, ge=1, le=MAX_STEPS)
    guidance_scale: float = Field(default=5.0, ge=0, le=100)
    scheduler: str = Field(default="", max_length=32)
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1, description="picture i gets seed + i; null draws one")
    count: int = Field(default=1, ge=1, le=MAX_COUNT)
    max_mkudos: int | None = Field(
        default=None, ge=0, le=2**40, description="for one picture, thousandths of a kudos; null = settings"
    )
    preview_every: int = Field(default=0, ge=0, le=MAX_STEPS, description="steps between previews; 0 = none")
    private: bool = Field(default=False, description="leave the prompt out of the pictures' metadata, whatever the settings say")
    shared: bool | None = Field(
        default=None, description="let others have the pictures too, which costs less; null = as the settings say"
    )
    timeout_s: float | None = Field(default=None, gt=0, le=24 * 3600)
    dry_run: bool = Field(default=False, description="say what it would cost, and ask nobody anything")

    @model_validator(mode="after")
    def _whole_size(self) -> GenerateBody:
        if bool(self.width) != bool(self.height):
            raise ValueError("width and height belong together: give both, or neither for the model's own size")
        return self

    def request(self) -> ImageRequest:
        return ImageRequest(**self.model_dump(exclude={"dry_run"}))


class ModelBody(Body):
    """A folder that diffusers can load."""

    name: str = Field(min_length=1, max_length=64)
    path: str = Field(min_length=1, max_length=4096)


class CharterBody(Body):
    """A version of the mesh's charter as YAML, with its signatures."""

    text: str = Field(min_length=1, max_length=MAX_TEXT_BYTES)


def quote_view(quote: Quote) -> dict[str, Any]:
    """Amounts in milli-kudos: of one picture, and of all as ``total_mkudos``, which no bill exceeds."""
    levels = [asdict(level) | {"in_reach": level.mkudos <= quote.max_mkudos} for level in quote.levels]
    sums = {"tariff_total_mkudos": quote.tariff_mkudos * quote.count, "total_mkudos": quote.total_mkudos}
    return {"dry_run": True} | asdict(quote) | sums | {"levels": levels, "workers_in_reach": quote.in_reach}


def job_view(job: Job) -> dict[str, Any]:
    """A job without its prompt and pictures' bytes."""
    return {
        "id": job.id,
        "state": job.state,
        "error": job.error,
        "model": job.model or job.request.model,
        "width": job.width,
        "height": job.height,
        "steps": job.request.steps,
        "count": job.request.count,
        "seed": job.seed,
        "shared": bool(job.request.shared),
        "created_ms": job.created_ms,
        "finished_ms": job.finished_ms,
        "mkudos": job.mkudos,
        "notes": job.notes,
        "parts": [
            {"worker": part.worker, "worker_alias": part.worker_alias, "indices": part.indices, "mkudos": part.mkudos}
            | {"state": part.state, "why": part.why}
            for part in job.parts
        ],
        "pictures": [
            {"index": index, "seed": picture.seed, "worker": picture.worker, "worker_alias": picture.worker_alias}
            | {"mkudos": picture.mkudos, "receipt": picture.receipt, "seconds": picture.seconds, "bytes": len(picture.png)}
            | {"url": f"/v1/jobs/{job.id}/pictures/{index}"}
            for index, picture in sorted(job.pictures.items())
        ],
    }
