"""A node that asks for pictures, texts and forms, with nobody behind it: jobs do what a test tells them."""

from __future__ import annotations

import base64
import time
from io import BytesIO
from typing import Any

import httpx
from PIL import Image

from meshgen.peers.job import Finished, Job, Part
from meshgen.peers.request import Request, RequestError
from meshgen.peers.supply import Level, Quote
from tests.gateway.fake_node import BOB, FakeNode, FakeRequester
from tests.gateway.horde.conftest import OWN

DIGEST = "ab" * 32
MODELS: dict[str, Any] = {
    "mesh": [
        {"name": "sd15", "family": "sd1", "workers": 2, "queued": 4},
        {"name": "quick", "family": "sd1", "workers": 2, "queued": 1},
        {"name": "flow", "family": "flux", "workers": 1, "queued": 0},
        {"name": "tiny", "family": "text", "workers": 1, "queued": 0},
        {"name": "caption", "family": "alchemy", "workers": 1, "queued": 0},
    ],
    "adapters": [
        {"name": "ink", "kind": "lora", "family": "sd1", "digest": DIGEST, "workers": 1},
        {"name": "bad-hands", "kind": "inversion", "family": "sd1", "digest": "cd" * 32, "workers": 1},
        {"name": "canny", "kind": "controlnet", "family": "sd1", "digest": "ef" * 32, "workers": 1},
        {"name": "RealESRGAN_x4plus", "kind": "post", "family": "", "digest": "12" * 32, "workers": 1},
    ],
    "local": [],
}


class Requester(FakeRequester):
    """``refusal`` is raised at the next submission; ``none`` are models that nobody offers."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal: RequestError | None = None
        self.none = {"unknown"}
        self.quotes = 0

    def submit(self, request: Any) -> Job:
        if self.refusal:
            raise self.refusal
        job = super().submit(request)
        job.created_ms, job.model, job.seed = time.time_ns() // 1_000_000, request.model, request.seed or 0
        return job

    def quote(self, request: Request) -> Quote:
        self.quotes += 1
        if request.model in self.none:
            raise RequestError("no_worker", f"no worker offers {request.model!r}", "model")
        levels = (Level(2, 1000, 11_000), Level(1, 2000, 22_000))
        return Quote(request.model, 512, 512, 0, request.count, False, 11_000, 25_000, levels, False)


class AskingNode(FakeNode):
    def __init__(self) -> None:
        super().__init__()
        self.requester: Requester = Requester()
        self.worker_rows = [{"peer_id": BOB.peer_id, "alias": "bob", "roles": ["worker"], "models": ["sd15"], "policies": []}]

    def models(self) -> dict[str, Any]:
        return MODELS

    def peers(self) -> list[dict[str, Any]]:
        return self.worker_rows

    @property
    def asked(self) -> list[Any]:
        """The requests that were made."""
        return list(self.requester.requests)

    def job(self, number: int = 1) -> Job:
        return self.requester.jobs[f"job{number}"]


def picture(kind: str = "PNG", color: str = "teal", mode: str = "RGB") -> bytes:
    out = BytesIO()
    Image.new(mode, (64, 64), color).save(out, kind)
    return out.getvalue()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def award(job: Job, *indices: int, ahead_s: float = 0, due_s: float = 30) -> Part:
    now = time.time_ns() // 1_000_000
    part = Part(BOB.peer_id, "bob", indices or (0,), 11_000, ahead_ms=round(ahead_s * 1000), due_ms=now + round(due_s * 1000))
    job.parts.append(part)
    return part


def bring(job: Job, index: int, data: bytes = b"", media: str = "image/png") -> None:
    """A result that Bob made."""
    found = data or picture()
    job.results[index] = Finished(index, job.seed + index, BOB.peer_id, "bob", found, media, 11_000, "cd" * 32, 0.5)
    job.emit("result", media=media, index=index, seed=job.seed + index, worker=BOB.peer_id, alias="bob", mkudos=11_000)


def finish(job: Job, *data: bytes, media: str = "image/png") -> None:
    for index, one in enumerate(data or (picture(),) * job.request.count):
        bring(job, index, one, media)
    job.enter("done")


async def ask(api: httpx.AsyncClient, path: str = "/generate", **body: Any) -> httpx.Response:
    """``path``: /generate, /generate/text or /interrogate."""
    return await api.post(f"/api/v2{path}/async", json=body, headers=OWN)


async def taken(api: httpx.AsyncClient, path: str = "/generate", **body: Any) -> str:
    """The id of a request that has to be accepted."""
    answer = await ask(api, path, **body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def shown(api: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answer = await api.get(f"/api/v2{path}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
