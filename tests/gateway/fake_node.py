"""A node with no mesh behind it: jobs do what a test tells them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import trio

from meshgen.identity import Identity
from meshgen.ledger.fold import Balance
from meshgen.peers.request import FinishedPicture, ImageRequest, Job, Part

ALICE = Identity.from_seed(bytes(range(32)))
BOB = Identity.from_seed(bytes(range(1, 33)))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
SECRET = "a purple zebra reads the news"


class FakeScope:
    """Stands in for a job's cancel scope."""

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        self.cancel_called = False
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        self.cancel_called = True
        self._on_cancel()


class FakeRequester:
    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.requests: list[ImageRequest] = []
        self.on_submit: Callable[[Job], None] = lambda job: None
        self.on_cancel: Callable[[Job], None] = lambda job: None

    def submit(self, request: ImageRequest) -> Job:
        job = Job(f"job{len(self.jobs) + 1}", request, created_ms=1_700_000_000_000, model="sd15", width=512, height=512, seed=7)
        job.scope = cast(trio.CancelScope, FakeScope(lambda: self.on_cancel(job)))
        self.jobs[job.id] = job
        self.requests.append(request)
        self.on_submit(job)
        return job


class FakeLedger:
    def balance(self, author: bytes) -> Balance:
        return Balance(earned=5000, spent=1500, held=250) if author == ALICE.public_key else Balance()

    def entries(self, author: bytes, from_seq: int, to_seq: int) -> list[bytes]:
        return []


class FakeNode:
    """Implements NodeFace."""

    def __init__(self) -> None:
        self.peer_id = ALICE.peer_id
        self.requester: FakeRequester | None = FakeRequester()
        self.ledger: Any = FakeLedger()
        self.stopped = threading.Event()
        self.local: dict[str, Path] = {}

    def status(self) -> dict[str, Any]:
        return {"peer_id": self.peer_id, "alias": "alice", "roles": ["requester"], "peers": 1}

    def peers(self) -> list[dict[str, Any]]:
        return [{"peer_id": BOB.peer_id, "alias": "bob", "roles": ["worker"]}]

    def models(self) -> dict[str, Any]:
        mesh = [{"name": "sd15", "digests": ["ab" * 32], "workers": 2, "queued": 3}]
        return {"mesh": mesh, "local": [{"name": name, "path": str(path)} for name, path in self.local.items()]}

    def add_model(self, name: str, path: Path) -> dict[str, Any]:
        if not path.is_dir():
            raise ValueError(f"{path} is no folder")
        self.local[name] = path
        return {"name": name, "path": str(path)}

    def remove_model(self, name: str) -> None:
        del self.local[name]

    def verify_credit(self) -> dict[str, Any]:
        return {"ok": True, "entries": 3, "faults": []}

    def request_stop(self) -> None:
        self.stopped.set()


def draw(job: Job, index: int) -> None:
    """One picture arrives from Bob."""
    job.pictures[index] = FinishedPicture(index, job.seed + index, BOB.peer_id, "bob", PNG, 1234, "cd" * 32, 0.5)
    job.emit("picture", index=index, seed=job.seed + index, worker=BOB.peer_id, alias="bob", mkudos=1234)


def award(job: Job) -> None:
    job.parts.append(Part(BOB.peer_id, "bob", tuple(range(job.request.count)), 1234))
    job.enter("running")
    job.emit(
        "part", worker=BOB.peer_id, alias="bob", indices=list(range(job.request.count)), state="awarded", mkudos=1234, why=""
    )
