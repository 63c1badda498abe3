"""Texts: ask, status, cancel. There is no check: AI Horde has none."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from meshgen.gateway.horde.answers import Accepted, DryRun, TextStatus
from meshgen.gateway.horde.bodies import TextBody, TextParams
from meshgen.gateway.horde.callers import asking
from meshgen.gateway.horde.desk import Asked, Generation, Terms
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.intake import Caution, Intake, answer, caution, check_style, checked_webhook
from meshgen.gateway.horde.nearby import not_found
from meshgen.gateway.horde.views import Makers
from meshgen.peers.request import TextRequest
from meshgen.protocols.order import MAX_STOPS

FAMILIES = ("text",)
MAX_STOP = 64
"""Characters of a stop sequence that travels; longer ones, and those over the number that does, are looked for here."""
NEUTRAL = {"rep_pen_range": 0, "rep_pen_slope": 0, "tfs": 1, "top_a": 0, "typical": 1, "sampler_order": [], "smoothing_factor": 0}
NEUTRAL |= {"dynatemp_range": 0, "dynatemp_exponent": 1, "use_default_badwordsids": False}
"""What the mesh's engines do not know, by the value that means nothing."""
SPECIAL = str.maketrans("", "", "#/@%}{+=~|\\^<>")
SENTENCE_END = re.compile(r'^.*[.!?…]["\')\]*]*', re.DOTALL)
_BLANK_LINES = re.compile(r"\n{2,}")


class Texts:
    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def ask(self, request: Request, body: TextBody) -> JSONResponse:
        caller = asking(request, self._intake.keys)
        if body.proxied_account:
            raise HordeError(400, "OnlyServiceAccountProxy", "Only service accounts can provide a proxied_account value.")
        check_style(request, body.style)
        webhook = checked_webhook(body.webhook)
        self._intake.check_workers(request, body.workers)
        whom = self._intake.whom(body.workers, blacklist=body.worker_blacklist)
        wanted = self._intake.best(replace(text_request(body), whom=whom), body.models, FAMILIES)
        cautions = ignored(body)
        price = self._intake.price(wanted)
        if body.dry_run:
            self._intake.check(caller, [wanted], price)
            return JSONResponse({"kudos": price.expected * wanted.count / 1000})
        terms = Terms(webhook=webhook, finish=Finish(body.params))
        asked = self._intake.take(caller, "text", [wanted], terms, price)
        return JSONResponse(answer(asked, price, cautions), 202)

    def status(self, asked: Asked) -> dict[str, Any]:
        makers = Makers(self._intake.node)
        made = [self.made(asked, one, makers) for one in asked.generations()]
        return {"generations": made} | self._intake.waiting.figures(asked)

    @staticmethod
    def made(asked: Asked, one: Generation, makers: Makers) -> dict[str, Any]:
        text = asked.terms.finish(one.result.data.decode("utf-8", "replace"))
        return {"text": text, "seed": one.result.seed, "id": one.id, "gen_metadata": []} | makers.made_by(one)


def text_request(body: TextBody) -> TextRequest:
    params = body.params
    spaced = params.frmtadsnsp and body.prompt and not body.prompt[-1].isspace()
    stops = [stop for stop in params.stop_sequence if 0 < len(stop.encode()) <= MAX_STOP]
    return TextRequest(
        prompt=body.prompt + " " * bool(spaced),
        tokens=params.max_length,
        context=params.max_context_length,
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        min_p=params.min_p,
        repetition_penalty=params.rep_pen,
        stops=tuple(dict.fromkeys(stops))[:MAX_STOPS],
        count=params.n,
    )


def ignored(body: TextBody) -> list[Caution]:
    names = [name for name, neutral in NEUTRAL.items() if getattr(body.params, name) != neutral]
    names += [name for name in ("softprompt", "extra_source_images", "trusted_workers") if getattr(body, name)]
    why = "the mesh has no counterpart for it"
    return [caution("FieldIgnored", f"Warning: {name} was ignored: {why}.") for name in names]


class Finish:
    """What KoboldAI's options do to a text, and stop sequences that did not travel. Its repr shows none of them."""

    def __init__(self, params: TextParams) -> None:
        self._params = params

    def __repr__(self) -> str:
        return "Finish()"

    def __call__(self, text: str) -> str:
        params = self._params
        ends = [at + len(stop) for stop in params.stop_sequence if stop and (at := text.find(stop)) >= 0]
        text = text[: min(ends, default=len(text))]
        if params.frmttriminc and (whole := SENTENCE_END.match(text)):
            text = whole[0]
        if params.frmtrmblln:
            text = _BLANK_LINES.sub("\n", text)
        if params.frmtrmspch:
            text = text.translate(SPECIAL)
        if params.singleline:
            text = text.partition("\n")[0]
        return text


def text_routes(intake: Intake) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/generate/text", tags=["horde: texts"])
    texts, desk = Texts(intake), intake.desk

    def found(request: Request, asked_id: str) -> Asked:
        asked = desk.find("text", asked_id)
        if asked is None:
            raise not_found(request, "Text Waiting Prompt (Status)", asked_id)
        return asked

    @routes.post("/async", status_code=202, response_model=Accepted, responses={200: {"model": DryRun}})
    async def ask(request: Request, body: TextBody) -> JSONResponse:
        """Ask for texts; with ``dry_run`` for what they would cost."""
        return texts.ask(request, body)

    @routes.get("/status/{id}", response_model=TextStatus)
    async def status(request: Request, id: str) -> JSONResponse:
        """How it goes, and the texts that are there."""
        return JSONResponse(texts.status(found(request, id)))

    @routes.delete("/status/{id}", response_model=TextStatus)
    async def cancel(request: Request, id: str) -> JSONResponse:
        """What already came stays and is paid."""
        asked = found(request, id)
        asked.cancel()
        return JSONResponse(texts.status(asked))

    async def shown(asked: Asked, one: Generation) -> dict[str, Any]:
        return texts.made(asked, one, Makers(intake.node))

    desk.views["text"] = shown
    return routes
