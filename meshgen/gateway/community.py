"""Routes about who belongs to the mesh, and what people say of each other."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field

from meshgen.gateway.bodies import Body
from meshgen.gateway.errors import ApiError
from meshgen.gateway.face import NodeFace
from meshgen.identity import public_key_of

MAX_CHANGED = 1000
_ACCOUNT = re.compile(r"[0-9a-f]{64}")
Subject = Annotated[str, Field(min_length=1, max_length=64)]


class MembersBody(Body):
    """Peer ids, or account ids of 64 hex digits. An admission takes this delegate's own expulsion back, and the reverse."""

    admit: list[Subject] = Field(default=[], max_length=MAX_CHANGED)
    expel: list[Subject] = Field(default=[], max_length=MAX_CHANGED)


def community_routes(node: NodeFace) -> APIRouter:
    routes = APIRouter(tags=["mesh"])

    @routes.get("/v1/mesh/members")
    async def members() -> dict[str, Any]:
        """Who belongs to the mesh, if its charter lists them; and whether this node does."""
        return node.community.view()

    @routes.post("/v1/mesh/members")
    async def change(body: MembersBody) -> dict[str, Any]:
        """On this delegate's page of the roll. In force here at once, at the others within seconds."""
        for account in filter(_ACCOUNT.fullmatch, body.admit):
            if not node.community.knows(bytes.fromhex(account)):
                why = f"no log of the account {account[:12]} is kept here, so nobody would know its devices by it"
                hint = "admit one of them by its peer id, from `meshgen status` there: the others come along"
                raise ApiError(409, "unknown_account", why, "admit", hint)
        admit, expel = [_subject(who, "admit") for who in body.admit], [_subject(who, "expel") for who in body.expel]
        try:
            return await node.community.change(admit, expel)
        except ValueError as error:
            raise ApiError(409, "refused", str(error)) from None

    @routes.get("/v1/peers/{peer}/advice")
    async def advice(
        peer: Annotated[str, Path(min_length=1, max_length=64, description="a peer or account id")],
    ) -> dict[str, Any]:
        """Who recommends what about that peer, among those whose logs are kept here. Only who is ``followed`` is heeded."""
        return {"peer": peer, "said": node.community.advice_on(_subject(peer, "peer"))}

    return routes


def _subject(text: str, field: str) -> bytes:
    if _ACCOUNT.fullmatch(text):
        return bytes.fromhex(text)
    try:
        return public_key_of(text)
    except ValueError:
        why = f"{field}: {text[:64]!r} is neither a peer id, as `meshgen peers` shows it, nor an account id of 64 hex digits"
        raise ApiError(422, "invalid", why, field) from None
