"""Who made a result, as AI Horde says it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.desk import Generation
from meshgen.gateway.horde.names import uuid_of

PEER_END = 8
"""Characters of a peer id that stand for a worker without an alias."""


class Makers:
    """For one answer: this node's own name is looked up once."""

    def __init__(self, node: NodeFace) -> None:
        self._node = node

    @cached_property
    def _alias(self) -> str:
        return str(self._node.status()["alias"])

    def made_by(self, one: Generation) -> dict[str, Any]:
        result = one.result
        alias = self._alias if result.worker == self._node.peer_id else result.worker_alias
        worker = {"worker_id": uuid_of(result.worker), "worker_name": alias or result.worker[-PEER_END:]}
        return worker | {"model": one.job.model, "state": "ok"}
