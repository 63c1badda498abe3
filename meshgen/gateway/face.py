"""What the gateway needs of a node: its face. :mod:`meshgen.node` implements it, tests have a small fake."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from meshgen.ledger.fold import Balance
from meshgen.peers.request import ImageRequest, Job


class RequesterFace(Protocol):
    @property
    def jobs(self) -> Mapping[str, Job]:
        """Jobs of this run by id, oldest first; finished ones until they are dropped."""

    def submit(self, request: ImageRequest) -> Job:
        """Start a job. Raises RequestError."""


class LedgerFace(Protocol):
    """:class:`meshgen.ledger.ledger.Ledger`, as far as it is read here. Authors are public keys."""

    def balance(self, author: bytes) -> Balance: ...

    def entries(self, author: bytes, from_seq: int, to_seq: int) -> list[bytes]:
        """The wires, both ends included, as far as they are held."""


class NodeFace(Protocol):
    @property
    def peer_id(self) -> str: ...

    @property
    def requester(self) -> RequesterFace | None:
        """None if this node is no requester."""

    @property
    def ledger(self) -> LedgerFace: ...

    def status(self) -> dict[str, Any]: ...

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

    def request_stop(self) -> None: ...
