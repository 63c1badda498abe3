"""What the gateway needs of a node: its face. :mod:`meshgen.node` implements it, tests have a small fake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from meshgen.engine.bridge.bridge import HandIn, Handout
from meshgen.engine.bridge.popper import Popper
from meshgen.metrics import Metric
from meshgen.peers.accounting import LogQuery
from meshgen.peers.advice import Word
from meshgen.peers.job import Job
from meshgen.peers.means import RequesterPolicy
from meshgen.peers.request import Request
from meshgen.peers.supply import Quote
from meshgen.settings import Settings, Source


class RequesterFace(Protocol):
    @property
    def jobs(self) -> Mapping[str, Job]:
        """Jobs of this run by id, oldest first; finished ones until they are dropped."""

    @property
    def policy(self) -> RequesterPolicy:
        """The person's standing wishes."""

    def submit(self, request: Request) -> Job:
        """Start a job. Raises RequestError."""

    def quote(self, request: Request) -> Quote:
        """What it would cost; nobody is asked anything. Raises RequestError."""


class CreditFace(Protocol):
    """:class:`meshgen.peers.accounting.Accounting`. Peers are public keys, amounts milli-kudos, answers fit for JSON.

    What adds an entry raises LedgerError or Malformed, with a text for people, if the ledger does not take it."""

    def balance(self, author: bytes) -> dict[str, Any]:
        """``account`` is the account's id in hex, the key itself while no account is known to stand behind it."""

    async def opened(self, author: bytes, part: str, offset: int, limit: int) -> dict[str, Any]:
        """The deals behind one figure of a balance: earned, spent, held or contested."""

    async def log(self, author: bytes, query: LogQuery) -> dict[str, Any]: ...

    def explain(self, peer: bytes) -> dict[str, Any]:
        """Why that peer stands where it stands here."""

    async def tip(self, payee: bytes, mkudos: int, reason: str, ref: bytes) -> dict[str, Any]: ...

    async def vouch(self, peer: bytes, mkudos: int, for_ms: int) -> dict[str, Any]:
        """0 takes it back."""

    async def advise(self, word: Word, for_ms: int, *, withdraw: bool = False) -> dict[str, Any]: ...

    async def add_device(self, key: bytes, budget: int) -> dict[str, Any]: ...

    async def rotate(self, key: bytes, next_hash: bytes) -> dict[str, Any]:
        """Close the log in favour of the next key."""

    async def retire_device(self, key: bytes) -> dict[str, Any]: ...


class WorkerFace(Protocol):
    """:class:`meshgen.peers.overseer.Overseer`."""

    def state(self) -> dict[str, Any]:
        """``{"takes_work", "reasons": [{code, text, until_ms}], "paused", "models", "rules", "refused", ...}``"""

    def pause(self, for_ms: int = 0, message: str = "", *, now: bool = False) -> None:
        """Raises ValueError with a text for people, OSError."""

    def resume(self) -> None:
        """Raises OSError."""


class BridgeFace(Protocol):
    """:class:`meshgen.engine.bridge.bridge.Bridge`, for workers that were made for AI Horde."""

    def pop(self, popper: Popper) -> Handout:
        """A worker asks for something to do."""

    def source(self, piece_id: str) -> bytes:
        """The picture that a form is about. Raises NoPiece."""

    def upload(self, piece_id: str, data: bytes) -> None:
        """A result, before it is handed in. Raises NoPiece."""

    async def submit(self, piece_id: str, brought: HandIn) -> int:
        """What it earns, in mkudos. Raises NoPiece, Unusable."""

    def workers(self) -> list[dict[str, Any]]:
        """Those that are there: ``{"name", "kind", "agent", "models", "threads", "done", "mkudos", ...}``"""


class CommunityFace(Protocol):
    """:class:`meshgen.peers.community.Community`. Whom it is about is a key, or an account's id."""

    def view(self) -> dict[str, Any]:
        """``{"members": "open" | "listed", "roll_threshold", "membership", "rows": [{peer_id, account, how, by}]}``"""

    async def change(self, admit: Iterable[bytes], expel: Iterable[bytes]) -> dict[str, Any]:
        """Raises ValueError with a text for people if this node is no delegate, or the roll can't be kept."""

    def knows(self, account: bytes) -> bool:
        """Is a log kept here that tells which devices it has?"""

    def advice_on(self, subject: bytes) -> list[dict[str, Any]]:
        """Who recommends what, followed or not."""


class NodeFace(Protocol):
    @property
    def peer_id(self) -> str: ...

    @property
    def requester(self) -> RequesterFace | None:
        """None if this node is no requester."""

    @property
    def credit(self) -> CreditFace: ...

    @property
    def community(self) -> CommunityFace: ...

    @property
    def overseer(self) -> WorkerFace | None:
        """None if this node is no worker."""

    @property
    def bridge(self) -> BridgeFace | None:
        """None if no workers may fetch jobs here."""

    @property
    def settings_source(self) -> Source | None:
        """Where settings are read again from, and written to; None if it was started without files."""

    def follow_settings(self, settings: Settings) -> None:
        """From now on; what can't change in a running node stays."""

    def status(self) -> dict[str, Any]: ...

    async def selftest(self) -> dict[str, Any]:
        """``{"doors": [{address, linked}], "gossip": {presence_s, present, refused, offers}, "table": {error, ms}}``"""

    def figures(self) -> Iterable[Metric]:
        """For a monitor: no peer ids, no aliases, no prompts."""

    def peers(self) -> list[dict[str, Any]]: ...

    def models(self) -> dict[str, Any]:
        """``{"mesh": [{name, digests, workers, queued}], "local": [{name, digest, path}]}``"""

    def add_model(self, name: str, path: Path) -> dict[str, Any]:
        """Add a folder and serve it. Hashes the weights: called in a thread. Raises ValueError with a text for people."""

    def remove_model(self, name: str) -> None:
        """Forget a model; its files stay. Raises KeyError if there is no such one."""

    def verify_credit(self) -> dict[str, Any]:
        """Everything that this node keeps, checked from the first entry on: ``{"ok": bool, ...}``. Called in a thread.
        Raises ValueError if nothing is kept."""

    async def adopt_charter(self, text: str) -> dict[str, Any]:
        """The mesh as it is with the next version of its charter, given as YAML. Raises ValueError with a text for people."""

    def request_stop(self) -> None: ...
