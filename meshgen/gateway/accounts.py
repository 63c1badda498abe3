"""Routes under /v1/account: what this node says of keys. Showing an account needs no node: the command line reads the log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from meshgen.gateway.bodies import Body
from meshgen.gateway.credit import PeerField, foreign, refused
from meshgen.gateway.face import NodeFace
from meshgen.protocols.record import MAX_MKUDOS

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class AddBody(Body):
    """Let a device into this node's account."""

    peer: PeerField
    budget_mkudos: int = Field(default=0, ge=0, le=MAX_MKUDOS, description="the most that it may owe; 0 = no bound")


class RetireBody(Body):
    """Take a device out of this node's account."""

    peer: PeerField


class RotateBody(Body):
    """Close this node's log in favour of its next key."""

    key: Hash
    """The next key, to which this log has committed."""
    next_hash: Hash
    """SHA-256 of the key after that."""


def account_routes(node: NodeFace) -> APIRouter:
    routes = APIRouter(prefix="/v1/account", tags=["account"])

    @routes.post("/add", status_code=201)
    async def add(body: AddBody) -> dict[str, Any]:
        key = foreign(node, body.peer)
        with refused():
            return await node.credit.add_device(key, body.budget_mkudos)

    @routes.post("/retire", status_code=201)
    async def retire(body: RetireBody) -> dict[str, Any]:
        key = foreign(node, body.peer)
        with refused():
            return await node.credit.retire_device(key)

    @routes.post("/rotate", status_code=201)
    async def rotate(body: RotateBody) -> dict[str, Any]:
        """The last entry of this log: nothing can be signed after it, so the node is to be stopped."""
        with refused():
            return await node.credit.rotate(bytes.fromhex(body.key), bytes.fromhex(body.next_hash))

    return routes
