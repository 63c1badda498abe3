"""What people send, with bounds, and a job as they see it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from meshgen.peers.charter_file import MAX_TEXT_BYTES
from meshgen.peers.job import Job
from meshgen.peers.request import ImageRequest, kind_of
from meshgen.peers.supply import Quote


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


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
    """A job without its prompt and its results' bytes."""
    request = job.request
    return {
        "id": job.id,
        "kind": kind_of(request),
        "state": job.state,
        "error": job.error,
        "model": job.model or job.request.model,
        "width": job.width,
        "height": job.height,
        "steps": request.steps if isinstance(request, ImageRequest) else 0,
        "count": job.request.count,
        "seed": job.seed,
        "shared": bool(job.request.shared),
        "created_ms": job.created_ms,
        "finished_ms": job.finished_ms,
        "mkudos": job.mkudos,
        "progress": round(job.progress, 3),
        "notes": job.notes,
        "parts": [
            {"worker": part.worker, "worker_alias": part.worker_alias, "indices": part.indices, "mkudos": part.mkudos}
            | {"state": part.state, "why": part.why}
            for part in job.parts
        ],
        "results": [
            {"index": index, "seed": result.seed, "worker": result.worker, "worker_alias": result.worker_alias}
            | {"mkudos": result.mkudos, "receipt": result.receipt, "seconds": result.seconds}
            | {"media": result.media, "bytes": len(result.data), "url": f"/v1/jobs/{job.id}/results/{index}"}
            for index, result in sorted(job.results.items())
        ],
    }
