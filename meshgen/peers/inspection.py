"""What a requester does with a result that arrives: is it one, and a picture's metadata."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from meshgen import __version__
from meshgen.peers.assignment import Assignment
from meshgen.peers.job import Job, Part
from meshgen.peers.request import FormRequest, ImageRequest, Request, TextRequest
from meshgen.pictures import SIGNATURE, PictureError, bare, check_png, parameters_text, with_text
from meshgen.protocols.codec import Malformed

PNG, JSON, TEXT = "image/png", "application/json", "text/plain"


def media_of(data: bytes, request: Request) -> str:
    """A text is one whatever it begins with; :meth:`Inspection.check` has seen to it that anything else is what it says."""
    return TEXT if isinstance(request, TextRequest) else PNG if data.startswith(SIGNATURE) else JSON


def clean(text: str) -> str:
    """Without what must not reach a terminal: control characters but new lines and tabs, halves of surrogate pairs."""
    return "".join(c for c in text if (c >= " " and c != "\x7f" and not "\ud800" <= c <= "\udfff") or c in "\n\t")


class Inspection:
    """The cheap gate, one a job: is it what was ordered, whole, and has no other part of the job brought it already?"""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def check(self, data: bytes, assignment: Assignment) -> None:
        """Raises Malformed that says what is wrong with the result."""
        request = assignment.request
        if isinstance(request, TextRequest):
            return  # the protocol has seen that it is a text; two may be alike
        if isinstance(request, FormRequest) and not data.startswith(SIGNATURE):
            _check_found(data, request.model)
            return
        self.check_picture(data, assignment.width * assignment.enlarge, assignment.height * assignment.enlarge)
        if _follows_its_seed(request):
            self._check_new(data)

    @staticmethod
    def check_picture(png: bytes, width: int, height: int) -> None:
        """Raises Malformed."""
        try:
            check_png(png, width, height)
        except PictureError as error:
            raise Malformed(f"picture: {error}") from None

    def _check_new(self, png: bytes) -> None:
        digest = hashlib.sha256(png).digest()
        if digest in self._seen:
            raise Malformed("picture: the same one came twice in this job")
        self._seen.add(digest)


def _follows_its_seed(request: Request) -> bool:
    """Two seeds give two pictures; a map has no seed, and of a source all may be kept."""
    return isinstance(request, ImageRequest) and not request.source and not (request.control and request.control.return_map)


def _check_found(data: bytes, form: str) -> None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise Malformed("form: what was found is no JSON") from None
    if not isinstance(found, dict) or form not in found:
        raise Malformed(f"form: what was found says nothing of {form}")


@dataclass(frozen=True, slots=True)
class Paid:
    """How a picture was paid for: the RECEIPT's id, and what opens its commitment to the files that the worker sent."""

    receipt: bytes = b""
    openings: tuple[tuple[bytes, bytes], ...] = ()
    """(salt, SHA-256) of each picture under that receipt."""


def finish(png: bytes, seed: int, job: Job, assignment: Assignment, part: Part, paid: Paid) -> bytes:
    """The picture with its metadata alone: ``parameters`` as A1111's galleries read them, and ``meshgen`` as JSON."""
    request, model, plain = job.request, assignment.model, bare(png)
    own: dict[str, object] = {
        "version": __version__,
        "model": model.name,
        "model_digest": model.digest.hex(),
        "seed": seed,
        "worker": part.worker,
        "receipt": paid.receipt.hex(),
    }
    if hashlib.sha256(plain).digest() in (digest for _, digest in paid.openings):  # else the file says nothing of what was sent
        own["opened"] = [[salt.hex(), digest.hex()] for salt, digest in paid.openings]
    text = {"meshgen": json.dumps(own)}
    if not isinstance(request, ImageRequest):
        return with_text(plain, text)
    text["parameters"] = parameters_text(
        prompt="" if request.private else request.prompt,
        negative_prompt="" if request.private else request.negative_prompt,
        steps=request.steps,
        scheduler=request.scheduler,
        guidance_scale=request.guidance_scale,
        seed=seed,
        width=job.width,
        height=job.height,
        model=model.name,
        model_digest=model.digest,
    )
    return with_text(plain, text)
