"""Routes under /v1/credit: who has which balance, and why. Amounts in milli-kudos."""

from __future__ import annotations

from typing import Annotated, Any

import trio
from fastapi import APIRouter, Query

from meshgen.gateway.errors import ApiError
from meshgen.gateway.face import NodeFace
from meshgen.identity import peer_id, public_key_of
from meshgen.protocols.credit import Claim, Content, Entry, Hold, Receipt, Release, decode_entry

MAX_ENTRIES = 1000
Peer = Annotated[str, Query(max_length=64, description="a peer id; empty = this node")]


def credit_routes(node: NodeFace) -> APIRouter:
    routes = APIRouter(prefix="/v1/credit", tags=["credit"])

    @routes.get("/balance")
    async def balance(peer: Peer = "") -> dict[str, Any]:
        peer = peer or node.peer_id
        found = node.ledger.balance(_key(peer))
        return {"peer": peer, "balance_mkudos": found.net, "earned_mkudos": found.earned, "spent_mkudos": found.spent} | {
            "held_mkudos": found.held,
            "contested_mkudos": found.contested,
        }

    @routes.get("/log")
    async def log(
        peer: Peer = "",
        since: Annotated[int, Query(ge=1, le=2**53 - 1, description="the first entry's number")] = 1,
        limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 100,
    ) -> dict[str, Any]:
        peer = peer or node.peer_id
        wires = node.ledger.entries(_key(peer), since, since + limit - 1)
        return {"peer": peer, "entries": [entry_view(decode_entry(wire, verify=False)) for wire in wires]}

    @routes.get("/verify")
    async def verify() -> dict[str, Any]:
        try:
            return await trio.to_thread.run_sync(node.verify_credit)
        except ValueError as error:
            raise ApiError(409, "no_log", str(error)) from None

    return routes


def _key(peer: str) -> bytes:
    try:
        return public_key_of(peer)
    except ValueError:
        raise ApiError(422, "invalid", f"peer: {peer[:64]!r} is not a peer id; `meshgen peers` shows them", "peer") from None


def entry_view(entry: Entry) -> dict[str, Any]:
    common = {"seq": entry.seq, "id": entry.id.hex(), "ts_ms": entry.ts_ms, "kind": _kind(entry.content)}
    return common | _details(entry.content)


def _kind(content: Content | None) -> str:
    return "unknown" if content is None else type(content).__name__.lower()


def _details(content: Content | None) -> dict[str, Any]:
    match content:
        case Hold():
            return {"payee": peer_id(content.payee), "mkudos": content.amount, "expires_ms": content.expires_ms}
        case Receipt():
            return {"hold": content.hold_id.hex(), "mkudos": content.amount}
        case Claim():
            return {"hold": content.hold_id.hex(), "payer": peer_id(content.payer), "mkudos": content.amount}
        case Release():
            return {"hold": content.hold_id.hex(), "consented": bool(content.payee_sig)}
    return {}
