"""What a requester does with a picture that arrives: is it one, and then its metadata."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from meshgen import __version__
from meshgen.peers.request import Job, Part
from meshgen.pictures import PictureError, bare, check_png, parameters_text, with_text
from meshgen.protocols.advert import ModelAdvert
from meshgen.protocols.codec import Malformed


class Inspection:
    """The cheap gate, one a job: a whole PNG of the right size that no other part of the job has brought already."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def check(self, png: bytes, width: int, height: int) -> None:
        """Raises Malformed that says what is wrong with the picture."""
        try:
            check_png(png, width, height)
        except PictureError as error:
            raise Malformed(f"picture: {error}") from None
        digest = hashlib.sha256(png).digest()
        if digest in self._seen:
            raise Malformed("picture: the same one came twice in this job")
        self._seen.add(digest)


@dataclass(frozen=True, slots=True)
class Paid:
    """How a picture was paid for: the RECEIPT's id, and what opens its commitment to the files that the worker sent."""

    receipt: bytes = b""
    openings: tuple[tuple[bytes, bytes], ...] = ()
    """(salt, SHA-256) of each picture under that receipt."""


def finish(png: bytes, seed: int, job: Job, model: ModelAdvert, part: Part, paid: Paid) -> bytes:
    """The picture with its metadata alone: ``parameters`` as A1111's galleries read them, and ``meshgen`` as JSON."""
    request, plain = job.request, bare(png)
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
