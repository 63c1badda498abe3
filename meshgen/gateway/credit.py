"""Routes under /v1/credit: who has which balance, why, and what this node says of its own credit. Amounts in milli-kudos."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import trio
from fastapi import APIRouter, Query
from pydantic import Field

from meshgen.gateway.bodies import Body
from meshgen.gateway.errors import ApiError
from meshgen.gateway.face import NodeFace
from meshgen.identity import public_key_of
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.words import kind_number
from meshgen.peers.accounting import LogQuery
from meshgen.peers.advice import Word
from meshgen.protocols.codec import Malformed
from meshgen.protocols.record import MAX_MKUDOS

MAX_ENTRIES = 1000
MAX_UINT = 2**53 - 1
MAX_KINDS_TEXT = 256
Peer = Annotated[str, Query(max_length=64, description="a peer id; empty = this node")]
Limit = Annotated[int, Query(ge=1, le=MAX_ENTRIES)]
PeerField = Annotated[str, Field(min_length=1, max_length=64)]


class TipBody(Body):
    """Give credit away."""

    peer: PeerField
    mkudos: int = Field(ge=1, le=MAX_MKUDOS)
    reason: Literal["tip", "share", "rating", "treasury"] = "tip"
    about: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="the id of the entry that it is for")


class VouchBody(Body):
    """Answer for a peer's account, as if this node owed it so much. 0 takes it back."""

    peer: PeerField
    mkudos: int = Field(ge=0, le=MAX_MKUDOS)
    for_ms: int = Field(default=30 * 24 * 3600 * 1000, ge=1, le=MAX_UINT)


class AdviseBody(Body):
    """A recommendation about a peer, or a model by its digest, to those who follow this node."""

    peer: Annotated[str, Field(max_length=64)] = ""
    model: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    recommendation: Literal["trust", "caution", "avoid"]
    label: Annotated[str, Field(max_length=64)] = ""
    list: Annotated[str, Field(min_length=1, max_length=32)] = "meshgen"
    for_ms: int = Field(default=90 * 24 * 3600 * 1000, ge=1, le=MAX_UINT)
    withdraw: bool = False


def credit_routes(node: NodeFace) -> APIRouter:
    routes = APIRouter(prefix="/v1/credit", tags=["credit"])
    _add_questions(routes, node)
    _add_words(routes, node)
    return routes


def _add_questions(routes: APIRouter, node: NodeFace) -> None:
    @routes.get("/balance")
    async def balance(peer: Peer = "") -> dict[str, Any]:
        return node.credit.balance(_key(peer or node.peer_id))

    @routes.get("/deals")
    async def deals(
        open: Annotated[Literal["earned", "spent", "held", "contested"], Query(description="which figure of the balance")],
        peer: Peer = "",
        offset: Annotated[int, Query(ge=0, le=MAX_UINT)] = 0,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """The deals and gifts behind a figure, each with the ids of the entries that make it."""
        return await node.credit.opened(_key(peer or node.peer_id), open, offset, limit)

    @routes.get("/log")
    async def log(
        peer: Peer = "",
        since: Annotated[int, Query(ge=1, le=MAX_UINT, description="the first entry's number")] = 1,
        since_ms: Annotated[int, Query(ge=0, le=MAX_UINT, description="made at this time or later")] = 0,
        kind: Annotated[str, Query(max_length=MAX_KINDS_TEXT, description="names or numbers, with commas; empty = all")] = "",
        newest: Annotated[bool, Query(description="the last ones rather than the first")] = False,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        query = LogQuery(since, since_ms, _kinds(kind), limit, newest)
        return await node.credit.log(_key(peer or node.peer_id), query)

    @routes.get("/explain")
    async def explain(peer: Annotated[str, Query(min_length=1, max_length=64, description="a peer id")]) -> dict[str, Any]:
        """Why that peer stands where it stands for this node."""
        return node.credit.explain(_key(peer))

    @routes.get("/verify")
    async def verify() -> dict[str, Any]:
        try:
            return await trio.to_thread.run_sync(node.verify_credit)
        except ValueError as error:
            raise ApiError(409, "no_log", str(error)) from None


def _add_words(routes: APIRouter, node: NodeFace) -> None:
    @routes.post("/tip", status_code=201)
    async def tip(body: TipBody) -> dict[str, Any]:
        payee = foreign(node, body.peer)
        with refused():
            return await node.credit.tip(payee, body.mkudos, body.reason, bytes.fromhex(body.about))

    @routes.post("/vouch", status_code=201)
    async def vouch(body: VouchBody) -> dict[str, Any]:
        key = foreign(node, body.peer)
        with refused():
            return await node.credit.vouch(key, body.mkudos, body.for_ms)

    @routes.post("/advise", status_code=201)
    async def advise(body: AdviseBody) -> dict[str, Any]:
        if bool(body.peer) == bool(body.model):
            raise ApiError(422, "invalid", "peer: give a peer's id or a model's digest, one of the two", "peer")
        subject = foreign(node, body.peer) if body.peer else bytes.fromhex(body.model)
        about = Word(bool(body.model), subject, body.recommendation, body.label, body.list)
        with refused():
            return await node.credit.advise(about, body.for_ms, withdraw=body.withdraw)


@contextmanager
def refused() -> Iterator[None]:
    """The ledger may say no to what a person wants to add."""
    try:
        yield
    except (LedgerError, Malformed) as error:
        raise ApiError(409, "refused", str(error)) from None


def foreign(node: NodeFace, peer: str) -> bytes:
    if peer == node.peer_id:
        raise ApiError(422, "invalid", "peer: that is this node itself", "peer")
    return _key(peer)


def _key(peer: str) -> bytes:
    try:
        return public_key_of(peer)
    except ValueError:
        raise ApiError(422, "invalid", f"peer: {peer[:64]!r} is not a peer id; `meshgen peers` shows them", "peer") from None


def _kinds(text: str) -> frozenset[int]:
    try:
        return frozenset(kind_number(name) for name in text.split(",") if name.strip())
    except ValueError as error:
        raise ApiError(422, "invalid", f"kind: {error}", "kind") from None
