"""What was made. The figures are this node's own: its requests of this run, as long as they are kept."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter

from meshgen.gateway.callers import Keys
from meshgen.gateway.horde.callers import guarded
from meshgen.gateway.horde.faults import PREFIX
from meshgen.gateway.horde.figures import PERIODS, Figures

SPANS = PERIODS | {"total": 0}
MODEL_SPANS = ("day", "month", "total")


def stats_routes(keys: Keys, figures: Figures) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/stats", tags=["AI Horde: status"], dependencies=guarded(keys))

    @routes.get("/img/totals")
    async def images() -> dict[str, Any]:
        """``ps``: pixels times steps."""
        found = {span: figures.done("image", ms) for span, ms in SPANS.items()}
        return {span: {"images": done.count, "ps": round(done.units * 1_000_000)} for span, done in found.items()}

    @routes.get("/img/models")
    async def image_models(model_state: Literal["known", "custom", "all"] = "known") -> dict[str, dict[str, int]]:
        """Images by model. The mesh has no list of known models: none is custom."""
        return {span: {} if model_state == "custom" else figures.by_model("image", SPANS[span]) for span in MODEL_SPANS}

    @routes.get("/text/totals")
    async def texts() -> dict[str, Any]:
        """``tokens``: the most that each text was allowed."""
        found = {span: figures.done("text", ms) for span, ms in SPANS.items()}
        return {span: {"requests": done.count, "tokens": round(done.units)} for span, done in found.items()}

    @routes.get("/text/models")
    async def text_models() -> dict[str, dict[str, int]]:
        return {span: figures.by_model("text", SPANS[span]) for span in MODEL_SPANS}

    return routes
