"""The way of every request from its words to the desk: what it would cost, whether the key allows it, and the jobs that it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request as HttpRequest

from meshgen.gateway.callers import Caller, KeyLimit, Keys
from meshgen.gateway.face import NodeFace, RequesterFace
from meshgen.gateway.horde.desk import LIMIT_S, WAIT_S, Asked, Desk, Kind, Terms
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.names import uuid_of
from meshgen.gateway.horde.nearby import not_found
from meshgen.gateway.horde.waiting import Waiting, lacking
from meshgen.peers.job import Job
from meshgen.peers.request import ImageRequest, Request, RequestError, TextRequest, Whom

RETURN_CODES = {
    "bad_picture": (400, "ImageValidationFailed"),
    "bad_size": (400, "InvalidSize"),
    "no_prompt": (400, "MissingPrompt"),
    "too_many_jobs": (429, "TooManyPrompts"),
    "not_ready": (503, "MaintenanceMode"),
}
"""By a RequestError's code; others are 400 BadRequest."""
RETRY_S = 10
Caution = dict[str, str]
"""One of AI Horde's warnings: ``{code, message}``"""


def caution(code: str, message: str) -> Caution:
    return {"code": code, "message": message}


@dataclass(frozen=True, slots=True)
class Price:
    """Milli-kudos for one result; ``most`` is None where nobody has said. ``why`` nobody who is known can do it, or "".
    ``model``: which one it is for, if that is known."""

    expected: int = 0
    most: int | None = None
    why: str = ""
    model: str = ""


class Intake:
    def __init__(self, node: NodeFace, keys: Keys, desk: Desk) -> None:
        self.node, self.keys, self.desk = node, keys, desk
        self.waiting = Waiting(node, desk)

    @property
    def requester(self) -> RequesterFace:
        if self.node.requester is None:
            raise HordeError(
                503, "MaintenanceMode", "This node asks for nothing: add requester to node.roles and start it again."
            )
        return self.node.requester

    def price(self, request: Request) -> Price:
        """As far as it is known; a request that nobody can make is no fault here. Raises HordeError for what is none."""
        try:
            quote = self.requester.quote(request)
        except RequestError as error:
            if error.code in ("no_worker", "no_adapter"):
                return Price(why=lacking(request, error))
            raise refused(error) from None
        paid = [level.mkudos for level in quote.levels if level.mkudos <= quote.max_mkudos]
        if not paid and not quote.own:
            return Price(quote.tariff_mkudos, why="no worker that is known can do this, or none for what it may cost")
        return Price(min(paid, default=0), max(paid, default=0), model=quote.model)

    def best(self, request: Request, names: Sequence[str], families: Sequence[str]) -> Request:
        """With the model that is waited for the least, of those that somebody offers; the first where nobody does."""
        rows = self.waiting.models()
        offered = [rows[name] for name in names if name in rows and rows[name]["family"] in families and rows[name]["workers"]]
        offered.sort(key=lambda row: row["queued"] / row["workers"])
        for row in offered:
            if not self.price(choice := replace(request, model=row["name"])).why:
                return choice
        return replace(request, model=offered[0]["name"] if offered else next(iter(names), ""))

    def check_workers(self, request: HttpRequest, ids: Sequence[str]) -> None:
        """Raises HordeError for a UUID that no peer has."""
        known = {uuid_of(row["peer_id"]) for row in self.node.peers()} | {uuid_of(self.node.peer_id)} if ids else set()
        for worker_id in ids:
            if worker_id not in known:
                raise not_found(request, "Worker", worker_id, "WorkerNotFound")

    def whom(self, ids: Sequence[str], *, blacklist: bool) -> Whom:
        """Workers by their UUIDs: those that may be asked alone, or those that may not."""
        known = (self.node.peer_id, *(row["peer_id"] for row in self.node.peers())) if ids else ()
        named = frozenset(peer for peer in known if uuid_of(peer) in ids)
        return Whom(never=named) if blacklist else Whom(only=named)

    def take(
        self,
        caller: Caller,
        kind: Kind,
        requests: Sequence[Request],
        terms: Terms,
        price: Price,
        patience_s: float | None = WAIT_S,
    ) -> Asked:
        """``price`` is that of one result of any of them. Raises HordeError."""
        count = sum(request.count for request in requests)
        price = self._bounded(caller, price, count)
        self.check(caller, requests, price)
        self._check_room(caller, len(requests))
        jobs: list[Job] = []
        for request in requests:
            try:
                jobs.append(self.requester.submit(self._within(caller, request, price, patience_s)))
            except RequestError as error:
                for job in jobs:
                    job.cancel()
                raise refused(error) from None
        return self.desk.take(caller, kind, jobs, terms, count * (price.most or 0))

    def check(self, caller: Caller, requests: Sequence[Request], price: Price) -> None:
        """Does the key allow it? Raises HordeError."""
        most = sum(request.count for request in requests) * (price.most or 0)
        try:
            self.keys.check(caller, **_measures(requests[0]), mkudos=most)
        except KeyLimit as limit:
            raise HordeError(403, limit.rc, str(limit)) from None

    def _check_room(self, caller: Caller, more: int) -> None:
        """Half of the places for open jobs stays the owner's, whatever all others ask for. Raises HordeError."""
        if caller.kind == "owner":
            return
        taken = sum(not job.final for asked in self.desk.open() if asked.caller.kind != "owner" for job in asked.jobs)
        if taken + more > max(1, self.requester.policy.open_jobs // 2):
            message = "This node has as many open requests of others than its owner as it takes; wait for one to end."
            raise HordeError(429, "TooManyPrompts", message, {"Retry-After": str(RETRY_S)})

    def _bounded(self, caller: Caller, price: Price, count: int) -> Price:
        """Where nobody has named a price, a shared key's bearer pays in the end no more than is left on the key."""
        left = self.keys.left(caller)
        if price.most is not None or left is None:
            return price
        return replace(price, most=min(self.requester.policy.max_mkudos, max(0, left) // count))

    @staticmethod
    def _within(caller: Caller, request: Request, price: Price, patience_s: float | None) -> Request:
        """A shared key's bearer pays no more than was checked."""
        most = price.most if caller.kind == "shared" and price.most is not None else request.max_mkudos
        return replace(request, patience_s=patience_s, timeout_s=LIMIT_S, max_mkudos=most)


def _measures(request: Request) -> dict[str, int]:
    match request:
        case ImageRequest(width=width, height=height, steps=steps):
            return {"pixels": width * height, "steps": steps}
        case TextRequest(tokens=tokens):
            return {"tokens": tokens}
    return {}


def refused(error: RequestError) -> HordeError:
    status, rc = RETURN_CODES.get(error.code, (400, "BadRequest"))
    if error.field == "prompt" and error.code == "bad_request":
        rc = "InvalidPromptSize"
    headers = {"Retry-After": str(RETRY_S)} if status == 429 else None
    return HordeError(status, rc, f"{error}.", headers)


def answer(asked: Asked, price: Price, cautions: Sequence[Caution]) -> dict[str, Any]:
    """To a request that was taken."""
    found = {"id": asked.id, "kudos": price.expected * asked.count / 1000}
    told = list(cautions)
    if price.why:
        told.insert(0, caution("NoAvailableWorker", nobody(price.why)))
    return found | ({"message": told[0]["message"], "warnings": told} if told else {})


def nobody(why: str) -> str:
    return f"Warning: No available workers can fulfill this request: {why}. It will expire in 20 minutes unless a worker appears."


def check_style(request: HttpRequest, style: str) -> None:
    """Raises HordeError: the mesh keeps no styles."""
    if style:
        raise not_found(request, "Style", style, "StyleNotFound")


def checked_webhook(url: str) -> str:
    """Raises HordeError."""
    if url and not url.startswith("https://"):
        raise HordeError(400, "BadRequest", "webhooks need to point to an https endpoint.")
    return url
