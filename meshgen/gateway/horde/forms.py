"""Alchemy: forms over one picture, a job each: ask, status, cancel."""

from __future__ import annotations

import json
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from meshgen.gateway.horde.answers import FormsAccepted, FormsStatus
from meshgen.gateway.horde.bodies import FormsBody
from meshgen.gateway.horde.callers import asking
from meshgen.gateway.horde.desk import Asked, Generation, Terms
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.intake import Intake, Price, checked_webhook, nobody
from meshgen.gateway.horde.nearby import not_found
from meshgen.gateway.horde.sources import INVALID, Sources
from meshgen.gateway.horde.views import Makers
from meshgen.gateway.large import LargeRoute
from meshgen.peers.job import Job
from meshgen.peers.request import FormRequest

State = Literal["waiting", "processing", "partial", "done", "faulted", "cancelled"]
LISTS = ("tags", "sites", "artists", "flavors", "mediums", "movements", "techniques")
"""Of an interrogation; clients raise where one is missing."""
KINDS: dict[str, type] = {"caption": str, "nsfw": bool, "interrogation": dict}
"""What clients count on; another worker may have said anything."""


class Forms:
    def __init__(self, intake: Intake, sources: Sources) -> None:
        self._intake, self._sources = intake, sources

    async def ask(self, request: Request, body: FormsBody) -> JSONResponse:
        caller = asking(request, self._intake.keys)
        names = list(dict.fromkeys(form.name for form in body.forms))
        if not names:
            raise HordeError(
                400, "NoValidActions", "Say which forms are wanted: caption, nsfw, interrogation, an upscaler's name."
            )
        webhook = checked_webhook(body.webhook)
        source = await self._sources.read(body.source_image)
        if not source:
            raise HordeError(400, "ImageValidationFailed", INVALID)
        requests = [FormRequest(name, source) for name in names]
        prices = [self._intake.price(one) for one in requests]
        dearest = Price(0, max((price.most for price in prices if price.most is not None), default=None))
        terms = Terms(base=str(request.base_url), webhook=webhook)
        asked = self._intake.take(caller, "form", requests, terms, dearest)
        told = [nobody(price.why) for price in prices if price.why]
        told += ["Warning: payload was ignored: no form here takes one."] if any(form.payload for form in body.forms) else []
        return JSONResponse({"id": asked.id} | ({"message": " ".join(told[:2])} if told else {}), 202)

    def status(self, asked: Asked) -> dict[str, Any]:
        forms = [self._form(asked, place, job) for place, job in enumerate(asked.jobs)]
        found = {"state": overall([form["state"] for form in forms]), "forms": forms}
        whys = [self._why(job) for job in asked.jobs]
        return found | ({"message": next(filter(None, whys))} if any(whys) else {})

    def _why(self, job: Job) -> str:
        if job.final:
            return job.error if job.state == "failed" else ""
        return "" if job.parts else self._intake.waiting.impossible(job)

    def _form(self, asked: Asked, place: int, job: Job) -> dict[str, Any]:
        name, state = job.request.model, state_of(asked, job)
        if state != "done":
            return {"form": name, "state": state}
        result = self._result(asked, Generation(asked.generation_id(place, 0), job, job.results[0]))
        return {"form": name, "state": state, "result": result} if result else {"form": name, "state": "faulted"}

    def _result(self, asked: Asked, one: Generation) -> dict[str, Any]:
        """A picture by its URL; else what was found, as AI Horde shows it: nothing that it does not know, and all seven lists.
        Empty for nonsense."""
        form = one.job.request.model
        if one.result.media == "image/png":
            url = self._intake.desk.pictures.url(asked.terms.base, one.id)
            return {form: url, "upscaler_used": form, "url": url}  # horde-sdk reads these of forms that it does not know
        found: Any = _found(one.result.data, form)
        if found is None or (form in KINDS and not isinstance(found, KINDS[form])):
            return {}
        if form == "interrogation":
            lists = {name: _listed(found.get(name)) for name in LISTS}
            return {form: lists} | lists  # horde-sdk reads the lists beside it, all others in it
        return {form: found}

    def made(self, asked: Asked, one: Generation, makers: Makers) -> dict[str, Any]:
        """For a webhook."""
        result = self._result(asked, one)
        shown = {"form": one.job.request.model, "result": result} | makers.made_by(one)
        return shown | {"state": "done" if result else "faulted"}


def _found(data: bytes, form: str) -> Any:
    """None for what is no JSON, or none that all clients can read: of what came it is known only that it has the form's name."""
    try:
        found = json.loads(data)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return found.get(form) if isinstance(found, dict) else None


def _listed(rows: object) -> list[dict[str, Any]]:
    """Those of them that are what they should be."""
    return [
        {"text": row["text"], "confidence": row["confidence"]}
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and isinstance(row.get("text"), str) and isinstance(row.get("confidence"), int | float)
    ]


def state_of(asked: Asked, job: Job) -> State:
    if job.results:
        return "done"
    if job.state == "failed":
        return "faulted"
    if asked.cancelled or job.state == "cancelled":
        return "cancelled"
    return "processing" if any(part.state in ("awarded", "running") for part in job.parts) else "waiting"


def overall(states: list[State]) -> State:
    """Of a request whose forms are in these states."""
    found = set(states)
    if len(found) == 1:
        return states[0]
    if "done" in found:
        return "partial"
    if found & {"processing", "waiting"}:
        return "processing" if "processing" in found else "waiting"
    return "faulted"


def form_routes(intake: Intake, sources: Sources) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/interrogate", tags=["horde: alchemy"], route_class=LargeRoute)
    forms, desk = Forms(intake, sources), intake.desk

    def found(request: Request, asked_id: str) -> Asked:
        asked = desk.find("form", asked_id)
        if asked is None:
            raise not_found(request, "Interrogation", asked_id)
        return asked

    @routes.post("/async", status_code=202, response_model=FormsAccepted)
    async def ask(request: Request, body: FormsBody) -> JSONResponse:
        """Ask what a picture shows, or for what can be made of it."""
        return await forms.ask(request, body)

    @routes.get("/status/{id}", response_model=FormsStatus)
    async def status(request: Request, id: str) -> JSONResponse:
        """How it goes, form by form, with what was found."""
        return JSONResponse(forms.status(found(request, id)))

    @routes.delete("/status/{id}", response_model=FormsStatus)
    async def cancel(request: Request, id: str) -> JSONResponse:
        """What was already found stays and is paid."""
        asked = found(request, id)
        asked.cancel()
        return JSONResponse(forms.status(asked))

    async def shown(asked: Asked, one: Generation) -> dict[str, Any]:
        return forms.made(asked, one, Makers(intake.node))

    desk.views["form"] = shown
    return routes
