"""Who made a result, as AI Horde says it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.desk import Generation
from meshgen.gateway.horde.names import uuid_of
from meshgen.peers.job import Finished

PEER_END = 8
"""Characters of a peer id that stand for a worker without an alias."""
UNNAMED = "peer"
"""What those are called elsewhere."""


class Makers:
    """For one answer: this node's own name is looked up once."""

    def __init__(self, node: NodeFace) -> None:
        self._node = node

    @cached_property
    def _alias(self) -> str:
        return str(self._node.status()["alias"])

    def made_by(self, one: Generation) -> dict[str, Any]:
        result = one.result
        worker = {"worker_id": uuid_of(result.worker), "worker_name": self._name(result) or result.worker[-PEER_END:]}
        return worker | {"model": one.job.model, "state": "ok"}

    def _name(self, result: Finished) -> str:
        """As in the list of workers: without the end of its id, by which people tell namesakes apart."""
        if result.worker == self._node.peer_id:
            return self._alias
        alias = result.worker_alias.removesuffix(f"#{result.worker[-6:]}")
        return "" if alias == UNNAMED else alias
