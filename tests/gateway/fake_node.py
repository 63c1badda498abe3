"""A node with no mesh behind it: jobs do what a test tells them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import trio

from meshgen.engine.bridge.bridge import Bridge
from meshgen.identity import Identity, peer_id
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.fold import Balance
from meshgen.metrics import Histogram, Metric, counter, gauge, histogram
from meshgen.peers.accounting import LogQuery
from meshgen.peers.advice import Word
from meshgen.peers.job import Finished, Job, Part
from meshgen.peers.means import RequesterPolicy
from meshgen.peers.request import ImageRequest, RequestError
from meshgen.peers.supply import Level, Quote
from meshgen.settings import Settings, Source
from tests.gateway.fake_overseer import FakeOverseer

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
        self.policy = RequesterPolicy()
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

    def quote(self, request: ImageRequest) -> Quote:
        if request.model == "unknown":
            raise RequestError("no_worker", "no worker is known yet that offers the model 'unknown'", "model")
        levels = (Level(2, 1000, 9160), Level(1, 2000, 18_320))
        limit = 10_000 if request.max_mkudos is None else request.max_mkudos
        return Quote("sd15", 512, 512, request.steps, request.count, bool(request.shared), 9160, limit, levels, False)


HOLD_ID, RECEIPT_ID = "ab" * 32, "cd" * 32


class FakeCredit:
    """Implements CreditFace: Alice earned 5 kudos from Bob and spent 1.5 on him. ``said`` is what was to be added."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []
        self.asked: list[LogQuery] = []
        self.refusal = ""

    def balance(self, author: bytes) -> dict[str, Any]:
        found = Balance(earned=5000, spent=1500, held=250) if author == ALICE.public_key else Balance()
        sums = {f"{name}_mkudos": getattr(found, name) for name in ("earned", "spent", "held", "contested")}
        more = {"entries": 9 if found.earned else 0, "not_understood": 0, "forked": False}
        more |= {"devices": 1, "account_mkudos": found.net, "account": author.hex()}
        return {"peer": peer_id(author), "balance_mkudos": found.net, **sums, **more}

    async def opened(self, author: bytes, part: str, offset: int, limit: int) -> dict[str, Any]:
        item = {"with": BOB.peer_id, "side": "payee", "mkudos": 100, "held_mkudos": 150, "value_mkudos": 100, "state": "paid"}
        item |= {"kind": "hold", "ts_ms": 1_789_000_000_000, "entries": [HOLD_ID, RECEIPT_ID]}
        items = [item] * (50 if part == "earned" else 0)
        head = {"peer": peer_id(author), "open": part, "mkudos": 100 * len(items), "count": len(items), "offset": offset}
        return head | {"items": items[offset : offset + limit]}

    async def log(self, author: bytes, query: LogQuery) -> dict[str, Any]:
        self.asked.append(query)
        return {"peer": peer_id(author), "head": 0, "next": None, "entries": []}

    def explain(self, peer: bytes) -> dict[str, Any]:
        return {"peer": peer_id(peer)}

    async def tip(self, payee: bytes, mkudos: int, reason: str, ref: bytes) -> dict[str, Any]:
        return self._say("tip", payee, mkudos, reason, ref) | {"balance_mkudos": 0}

    async def vouch(self, peer: bytes, mkudos: int, for_ms: int) -> dict[str, Any]:
        return self._say("vouch", peer, mkudos, for_ms) | {"expires_ms": 1_789_000_000_000 + for_ms if mkudos else None}

    async def advise(self, word: Word, for_ms: int, *, withdraw: bool = False) -> dict[str, Any]:
        return self._say("advise", word, for_ms, withdraw) | {"expires_ms": None if withdraw else 1_789_000_000_000 + for_ms}

    async def add_device(self, key: bytes, budget: int) -> dict[str, Any]:
        return self._say("add_device", key, budget) | {"account": "ac" * 32, "peer": ALICE.peer_id}

    async def rotate(self, key: bytes, next_hash: bytes) -> dict[str, Any]:
        return self._say("rotate", key, next_hash)

    async def retire_device(self, key: bytes) -> dict[str, Any]:
        return self._say("retire_device", key) | {"at_seq": 3}

    def _say(self, *what: object) -> dict[str, Any]:
        if self.refusal:
            raise LedgerError(self.refusal)
        self.said.append(what)
        return {"entry": {"id": "ef" * 32}}


class FakeCommunity:
    """A mesh that lists its members; this node is a delegate."""

    def __init__(self) -> None:
        self.changes: list[tuple[list[bytes], list[bytes]]] = []
        self.refusal = ""

    def view(self) -> dict[str, Any]:
        rows = [{"peer_id": ALICE.peer_id, "account": "ab" * 32, "how": "delegate", "by": []}]
        rows.append({"peer_id": BOB.peer_id, "account": "cd" * 32, "how": "admitted", "by": [ALICE.peer_id]})
        rows.append({"peer_id": "", "account": "ef" * 32, "how": "expelled", "by": []})
        return {"members": "listed", "roll_threshold": 1, "membership": "member", "rows": rows}

    async def change(self, admit: Iterable[bytes], expel: Iterable[bytes]) -> dict[str, Any]:
        if self.refusal:
            raise ValueError(self.refusal)
        self.changes.append((list(admit), list(expel)))
        return self.view()

    def knows(self, account: bytes) -> bool:
        return account == bytes.fromhex("ab" * 32)

    def advice_on(self, subject: bytes) -> list[dict[str, Any]]:
        if subject != BOB.public_key:
            return []
        said = {"recommendation": "avoid", "why": "sends noise", "list": "meshgen", "expires_ms": 1_800_000_000_000}
        return [{"by": ALICE.peer_id, "followed": True} | said]


class FakeNode:
    """Implements NodeFace."""

    def __init__(self) -> None:
        self.peer_id = ALICE.peer_id
        self.requester: FakeRequester | None = FakeRequester()
        self.overseer: FakeOverseer | None = None
        self.bridge: Bridge | None = None
        self.credit: Any = FakeCredit()
        self.community: Any = FakeCommunity()
        self.stopped = threading.Event()
        self.local: dict[str, Path] = {}
        self.settings_source: Source | None = None
        self.followed: list[Settings] = []

    def follow_settings(self, settings: Settings) -> None:
        self.followed.append(settings)

    def status(self) -> dict[str, Any]:
        return {"peer_id": self.peer_id, "alias": "alice", "roles": ["requester"], "peers": 1}

    async def selftest(self) -> dict[str, Any]:
        gossip = {"presence_s": None, "present": 0, "refused": 0, "offers": []}
        return {"doors": [], "gossip": gossip, "table": {"error": "", "ms": 1}}

    def figures(self) -> Iterable[Metric]:
        job_s = Histogram((1.0, 10.0))
        job_s.observe(2.5)
        return [
            gauge("peers_known", "Peers.", 1),
            counter("jobs", "Jobs.", {"done": 2}, "state"),
            histogram("job_seconds", "", job_s),
        ]

    def peers(self) -> list[dict[str, Any]]:
        row = {"peer_id": BOB.peer_id, "alias": "bob", "roles": ["worker"], "agent": "meshgen/1.2", "models": ["sd15"]}
        return [row | {"policies": [], "queued": 3, "slots": 1, "max_pixels": 1_048_576}]

    def models(self) -> dict[str, Any]:
        mesh = [{"name": "sd15", "family": "sd1", "digests": ["ab" * 32], "workers": 2, "queued": 3}]
        return {"mesh": mesh, "adapters": [], "local": [{"name": name, "path": str(path)} for name, path in self.local.items()]}

    def add_model(self, name: str, path: Path) -> dict[str, Any]:
        if not path.is_dir():
            raise ValueError(f"{path} is no folder")
        self.local[name] = path
        return {"name": name, "path": str(path)}

    def remove_model(self, name: str) -> None:
        del self.local[name]

    def verify_credit(self) -> dict[str, Any]:
        return {"ok": True, "entries": 3, "faults": []}

    async def adopt_charter(self, text: str) -> dict[str, Any]:
        if not text.startswith("name:"):
            raise ValueError("charter: holds no keys such as `name:`")
        return {"charter": "ours", "version": 1}

    def request_stop(self) -> None:
        self.stopped.set()


def draw(job: Job, index: int) -> None:
    """One picture arrives from Bob."""
    job.results[index] = Finished(index, job.seed + index, BOB.peer_id, "bob", PNG, "image/png", 1234, "cd" * 32, 0.5)
    job.emit("result", media="image/png", index=index, seed=job.seed + index, worker=BOB.peer_id, alias="bob", mkudos=1234)


def award(job: Job) -> None:
    job.parts.append(Part(BOB.peer_id, "bob", tuple(range(job.request.count)), 1234))
    job.enter("running")
    job.emit(
        "part", worker=BOB.peer_id, alias="bob", indices=list(range(job.request.count)), state="awarded", mkudos=1234, why=""
    )
