"""Pictures: ask, check, status, cancel, rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from meshgen.gateway.horde.answers import Accepted, Check, DryRun, ImageStatus, Reward
from meshgen.gateway.horde.bodies import ImageBody, RatingsBody
from meshgen.gateway.horde.callers import asking
from meshgen.gateway.horde.desk import Asked, Generation, Terms
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.intake import Intake, Price, answer, check_style, checked_webhook
from meshgen.gateway.horde.nearby import not_found
from meshgen.gateway.horde.sources import Sources
from meshgen.gateway.horde.translation import Given, Translation, by_seed, check_image, check_painting, fitted, plain_request
from meshgen.gateway.horde.upfront import downgraded, needs_credit, refused
from meshgen.gateway.horde.views import Makers
from meshgen.gateway.large import LargeRoute
from meshgen.peers.request import ImageRequest
from meshgen.protocols.advert import PICTURE_FAMILIES

WAITING = "Image Waiting Prompt"


class Images:
    def __init__(self, intake: Intake, sources: Sources) -> None:
        self._intake, self._sources = intake, sources

    async def ask(self, request: Request, body: ImageBody) -> JSONResponse:
        caller = asking(request, self._intake.keys)
        check_image(body)
        check_style(request, body.style)
        webhook = checked_webhook(body.webhook)
        self._intake.check_workers(request, body.workers)
        given = Given(await self._sources.read(body.source_image), await self._sources.read(body.source_mask))
        check_painting(body, given)
        told = Translation()
        if body.allow_downgrade and needs_credit(caller, body.params):
            body, downgrade = downgraded(body)
            told.cautions.append(downgrade)
        wanted, price = self._wanted(body, given, told)
        if body.dry_run:
            self._intake.check(caller, [wanted], price)
            return JSONResponse({"kudos": price.expected * wanted.count / 1000})
        if needs_credit(caller, body.params):
            raise refused(price.expected * wanted.count / 1000)
        terms = Terms(body.r2, str(request.base_url), webhook, tuple(told.metadata))
        asked = self._intake.take(caller, "image", by_seed(wanted, body), terms, price)
        return JSONResponse(answer(asked, price, told.cautions), 202)

    def _wanted(self, body: ImageBody, given: Given, told: Translation) -> tuple[ImageRequest, Price]:
        """For one of the models that will do, with what there is for it."""
        whom = self._intake.whom(body.workers, blacklist=body.worker_blacklist)
        plain = replace(plain_request(body, given), whom=whom)
        best = self._intake.best(plain, body.models, PICTURE_FAMILIES)
        assert isinstance(best, ImageRequest)
        row = self._intake.waiting.models().get(best.model or self._intake.price(best).model, {})
        wanted = fitted(best, body, row.get("family", ""), self._intake.waiting.adapters(), told)
        return wanted, self._intake.price(wanted)

    def figures(self, asked: Asked) -> dict[str, Any]:
        return self._intake.waiting.figures(asked)

    async def status(self, asked: Asked) -> dict[str, Any]:
        makers = Makers(self._intake.node)
        made = [await self.made(asked, one, makers) for one in asked.generations()]
        shared = any(bool(job.request.shared) for job in asked.jobs)
        return self.figures(asked) | {"generations": made, "shared": shared}

    async def made(self, asked: Asked, one: Generation, makers: Makers) -> dict[str, Any]:
        pictures = self._intake.desk.pictures
        if asked.terms.r2:
            img = pictures.url(asked.terms.base, one.id)
        else:
            img = await pictures.base64(one.id, one.result.data)
        picture = {"img": img, "seed": str(one.result.seed), "id": one.id, "censored": False}
        return picture | makers.made_by(one) | {"gen_metadata": list(asked.terms.metadata)}


def image_routes(intake: Intake, sources: Sources) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/generate", tags=["horde: pictures"], route_class=LargeRoute)
    images, desk = Images(intake, sources), intake.desk

    def found(request: Request, asked_id: str, what: str) -> Asked:
        asked = desk.find("image", asked_id)
        if asked is None:
            raise not_found(request, f"{WAITING} ({what})", asked_id)
        return asked

    @routes.post("/async", status_code=202, response_model=Accepted, responses={200: {"model": DryRun}})
    async def ask(request: Request, body: ImageBody) -> JSONResponse:
        """Ask for pictures; with ``dry_run`` for what they would cost. What can't be honoured is in ``warnings``."""
        return await images.ask(request, body)

    @routes.get("/check/{id}", response_model=Check)
    async def check(request: Request, id: str) -> JSONResponse:
        """How it goes, without the pictures."""
        return JSONResponse(images.figures(found(request, id, "Check")))

    @routes.get("/status/{id}", response_model=ImageStatus)
    async def status(request: Request, id: str) -> JSONResponse:
        """How it goes, and the pictures that are there."""
        return JSONResponse(await images.status(found(request, id, "Status")))

    @routes.delete("/status/{id}", response_model=ImageStatus)
    async def cancel(request: Request, id: str) -> JSONResponse:
        """What already came stays and is paid. Whoever knows the id may do this, as at AI Horde."""
        asked = found(request, id, "Status")
        asked.cancel()
        return JSONResponse(await images.status(asked))

    @routes.post("/rate/{id}", response_model=Reward)
    async def rate(request: Request, id: str, body: RatingsBody) -> JSONResponse:
        """Nobody gathers ratings here: they are looked at as AI Horde would, and earn nothing."""
        asked = found(request, id, "Aesthetics")
        _check_ratings(asked, body)
        asked.rated = True
        return JSONResponse({"reward": 0.0})

    desk.looks[f"{routes.prefix}/check"] = lambda id: images.figures(asked) if (asked := desk.find("image", id)) else None
    desk.views["image"] = lambda asked, one: images.made(asked, one, Makers(intake.node))
    return routes


def _check_ratings(asked: Asked, body: RatingsBody) -> None:
    made = [one.id for one in asked.generations()]
    rated = [rating.id for rating in body.ratings]
    unknown = [one for one in (*rated, *filter(None, [body.best])) if one not in made]
    if not asked.final or not made:
        raise HordeError(400, "AestheticsNotCompleted", "You can only aesthetically rate completed requests!")
    if not any(bool(job.request.shared) for job in asked.jobs):
        raise HordeError(400, "AestheticsNotPublic", "You can only aesthetically rate requests you have opted to share publicly")
    if asked.rated:
        raise HordeError(400, "AestheticsAlreadyExist", "This request has been rated already.")
    if unknown:
        raise HordeError(404, "ProcGenNotFound", f"Image with ID '{unknown[0]}' not found.")
    if len(set(rated)) < len(rated):
        raise HordeError(400, "AestheticsDuplicate", "An image is rated twice.")
    if not rated and not body.best:
        raise HordeError(400, "AestheticsMissing", "Say which image is best, or rate them.")
    if not rated and len(made) == 1:
        raise HordeError(400, "AestheticsSolo", "The best of one image says nothing: rate it instead.")
