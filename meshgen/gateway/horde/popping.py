"""Existing AI Horde workers fetch jobs here and hand in results: reGen, KoboldCpp, alchemists. This API is their ``horde_url``.

They show the node's own key. What they do earns for the node: it bids for them, and signs.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import trio
from fastapi import APIRouter, Request

from meshgen.engine.bridge.bridge import HandIn, Handout
from meshgen.engine.bridge.line import NoPiece, Piece
from meshgen.engine.bridge.payload import processing_of, source_of
from meshgen.engine.bridge.popper import Popper
from meshgen.engine.bridge.results import Unusable
from meshgen.engine.port import FormWork, TextWork, Work
from meshgen.gateway.callers import ANONYMOUS_KEY, Keys
from meshgen.gateway.face import BridgeFace, NodeFace
from meshgen.gateway.horde.callers import asking
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.popping_bodies import IN_R2, PopForms, PopImages, PopTexts, SubmitForm, SubmitImage, SubmitText
from meshgen.gateway.horde.uploads import Uploads, upload_routes
from meshgen.gateway.large import LARGE, LargeRoute

PREFIX = "/api/v2"
ANONYMOUS = "Anonymous user is forbidden from performing this operation"
UNRECOGNISED = "Unfortunately we cannot accept workers serving unrecognised models at this time"
MAINTENANCE = "This worker has been put into maintenance mode by its owner"
LOST = "This worker has been put into maintenance mode: it lost several jobs in a row. It gets some again in a few minutes"
NO_BRIDGE = "This node takes no workers: its owner has to set node.roles to contain worker, and worker.bridge to true"
_NO_PIECE = {
    "unknown": (404, "InvalidJobID", "Processing Job with ID {} does not exist."),
    "duplicate": (400, "DuplicateGen", "Processing Generation with ID {} already submitted."),
    "aborted": (
        400,
        "AbortedGen",
        "Processing Generation with ID {} took too long to process and has been aborted! "
        "Please check your worker speed and do not onboard worker which generate slower than 1 it/s!",
    ),
}


def popping_routes(node: NodeFace, keys: Keys) -> APIRouter:
    uploads = Uploads()
    desk = Popping(node, keys, uploads)
    routes = APIRouter(tags=["horde: workers"], route_class=LargeRoute)
    routes.include_router(upload_routes(node, uploads))

    @routes.post(PREFIX + "/generate/pop")
    async def pop_images(request: Request, body: PopImages) -> dict[str, Any]:
        """Something to draw, for a worker that does it for this node."""
        popper = body.popper()
        return desk.images(popper, desk.pop(request, popper, body.models), str(request.base_url))

    @routes.post(PREFIX + "/generate/submit")
    async def submit_image(request: Request, body: SubmitImage) -> dict[str, Any]:
        """A picture, or word that it was uploaded."""
        data = None if body.generation == IN_R2 else await _decoded(body.generation)
        return await desk.submit(request, body.id, body.hand_in(data))

    @routes.post(PREFIX + "/generate/text/pop")
    async def pop_texts(request: Request, body: PopTexts) -> dict[str, Any]:
        """Something to write."""
        popper = body.popper()
        return desk.texts(popper, desk.pop(request, popper, body.models))

    @routes.post(PREFIX + "/generate/text/submit")
    async def submit_text(request: Request, body: SubmitText) -> dict[str, Any]:
        """What was written."""
        return await desk.submit(request, body.id, body.hand_in(body.generation.encode(errors="replace")))

    @routes.post(PREFIX + "/interrogate/pop")
    async def pop_forms(request: Request, body: PopForms) -> dict[str, Any]:
        """Forms of alchemy."""
        popper = body.popper()
        return desk.forms(desk.pop(request, popper, body.forms), str(request.base_url))

    @routes.post(PREFIX + "/interrogate/submit")
    async def submit_form(request: Request, body: SubmitForm) -> dict[str, Any]:
        """What a form found, or word that its picture was uploaded."""
        uploaded = body.result == IN_R2 or (isinstance(body.result, dict) and IN_R2 in body.result.values())
        data = None if uploaded else json.dumps(body.result).encode()
        return await desk.submit(request, body.id, body.hand_in(data))

    return routes


class Popping:
    def __init__(self, node: NodeFace, keys: Keys, uploads: Uploads) -> None:
        self._node, self._keys, self._uploads = node, keys, uploads

    def pop(self, request: Request, popper: Popper, named: Sequence[str]) -> Handout:
        """Raises HordeError."""
        bridge = self._bridge(request)
        if named and not popper.models:
            raise HordeError(400, "BadRequest", UNRECOGNISED)
        handout = bridge.pop(popper)
        if handout.rests:
            raise HordeError(403, "WorkerMaintenance", LOST)
        pause = self._node.overseer.state()["paused"] if self._node.overseer and not handout.pieces else None
        if pause is not None:  # jobs that were accepted before go on to their end
            raise HordeError(403, "WorkerMaintenance", f"{MAINTENANCE}: {pause['message']}".removesuffix(": "))
        return handout

    async def submit(self, request: Request, piece_id: str, brought: HandIn) -> dict[str, Any]:
        """Raises HordeError."""
        try:
            mkudos = await self._bridge(request).submit(piece_id, brought)
        except NoPiece as no:
            status, rc, message = _NO_PIECE[no.why]
            raise HordeError(status, rc, message.format(piece_id)) from None
        except Unusable as error:
            raise HordeError(400, "ImageValidationFailed", f"The result can't be used: {error}.") from None
        return {"reward": mkudos / 1000}

    def images(self, popper: Popper, handout: Handout, base: str) -> dict[str, Any]:
        """GenerationPayloadStable."""
        if not handout.pieces:
            return {"id": None, "ids": [], "payload": {}, "skipped": handout.skipped, "r2_uploads": []}
        job = handout.pieces[0].job
        assert isinstance(job.work, Work)
        payload = job.payload | {
            "seed": str(handout.pieces[0].seed),
            "n_iter": len(handout.pieces),
            "use_nsfw_censor": not popper.nsfw,
        }
        urls = [self._uploads.url(base, "result", piece.id, handout.ttl_s) for piece in handout.pieces]
        return _told(handout, payload, job.work.model) | {
            "source_processing": processing_of(job.work, job.holes),
            "source_image": _encoded(source_of(job.work)),
            "source_mask": _encoded(job.work.mask),
            "r2_upload": urls[0],
            "r2_uploads": urls,
        }

    @staticmethod
    def texts(popper: Popper, handout: Handout) -> dict[str, Any]:
        """GenerationPayloadKobold."""
        if not handout.pieces:
            return {"id": None, "ids": [], "payload": {}, "skipped": handout.skipped}
        job = handout.pieces[0].job
        assert isinstance(job.work, TextWork)
        context = min(job.work.context or popper.max_context, popper.max_context)
        payload = job.payload | {"max_context_length": context}
        return _told(handout, payload, job.work.model) | {"softprompt": None}

    def forms(self, handout: Handout, base: str) -> dict[str, Any]:
        """InterrogationPopPayload."""
        return {"forms": [self._form(piece, base, handout.ttl_s) for piece in handout.pieces], "skipped": {}}

    def _form(self, piece: Piece, base: str, ttl_s: int) -> dict[str, Any]:
        assert isinstance(piece.job.work, FormWork)
        return {
            "id": piece.id,
            "form": piece.job.work.form,
            "source_image": self._uploads.url(base, "source", piece.id, ttl_s),
            "r2_upload": self._uploads.url(base, "result", piece.id, ttl_s),
        }

    def _bridge(self, request: Request) -> BridgeFace:
        """For the owner's own workers. Raises HordeError, InvalidInput."""
        if request.headers.get("apikey") == ANONYMOUS_KEY:
            raise HordeError(403, "AnonForbiddenWorker", ANONYMOUS)
        caller = asking(request, self._keys)
        if caller.kind != "owner":
            raise HordeError(403, "WrongCredentials", "Workers show the node's own key: a shared key asks for work alone.")
        if self._node.bridge is None:
            raise HordeError(403, "Forbidden", NO_BRIDGE)
        return self._node.bridge


def _told(handout: Handout, payload: dict[str, Any], model: str) -> dict[str, Any]:
    ids = [piece.id for piece in handout.pieces]
    head = {"id": ids[0], "ids": ids, "payload": payload, "model": model}
    return head | {"skipped": handout.skipped, "ttl": handout.ttl_s, "messages": []}


def _encoded(picture: bytes) -> str | None:
    return base64.b64encode(picture).decode() if picture else None


async def _decoded(text: str) -> bytes:
    """Empty if it is none: that is no picture either."""
    decode = partial(base64.b64decode, text, validate=True)
    try:
        return await trio.to_thread.run_sync(decode) if len(text) > LARGE else decode()
    except (binascii.Error, ValueError):
        return b""
