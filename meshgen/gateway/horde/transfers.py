"""Kudos given away: a tip in the owner's log, to an account of the mesh."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import BeforeValidator, Field

from meshgen.gateway.callers import Keys
from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.bodies import HordeBody
from meshgen.gateway.horde.callers import owner_asking
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.faults import PREFIX
from meshgen.gateway.horde.names import ANONYMOUS_NAME
from meshgen.gateway.horde.people import People, User
from meshgen.identity import public_key_of
from meshgen.ledger.errors import LedgerError
from meshgen.protocols.codec import Malformed
from meshgen.protocols.record import MAX_MKUDOS

MAX_REMEMBERED = 1000


def _whole(value: object) -> object:
    """AI Horde's own library sends 2.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class TransferBody(HordeBody):
    username: str = Field(min_length=3, max_length=120)
    amount: Annotated[int, BeforeValidator(_whole), Field(ge=-(2**53), le=MAX_MKUDOS // 1000)]


def transfer_routes(node: NodeFace, keys: Keys, people: People) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/kudos", tags=["AI Horde: accounts"])
    done: dict[str, float] = {}
    under_way: set[str] = set()

    @routes.post("/transfer")
    async def transfer(
        body: TransferBody, request: Request, idempotency_key: Annotated[str, Header(max_length=128)] = ""
    ) -> dict[str, float]:
        """Whole kudos. A call that is repeated with the same Idempotency-Key gives nothing twice in one run of the node."""
        owner_asking(request, keys)
        if idempotency_key in done:
            return {"transferred": done[idempotency_key]}
        if idempotency_key in under_way:
            raise HordeError(400, "TooFastKudosTransfers", "The same transfer is still under way.")
        payee = _payee(people, body)
        under_way.update(filter(None, [idempotency_key]))
        try:
            await node.credit.tip(public_key_of(payee.peers[0]), body.amount * 1000, "tip", b"")
        except (LedgerError, Malformed) as error:
            raise HordeError(400, "KudosTransferNotEnough", f"Nothing was transferred: {error}") from None
        finally:
            under_way.discard(idempotency_key)
        if idempotency_key:
            done[idempotency_key] = float(body.amount)
        while len(done) > MAX_REMEMBERED:
            del done[next(iter(done))]
        return {"transferred": float(body.amount)}

    return routes


def _payee(people: People, body: TransferBody) -> User:
    """Raises HordeError. The whole name must fit: a number alone can be had by who tries accounts long enough."""
    if body.username == ANONYMOUS_NAME:
        raise HordeError(400, "KudosTransferToAnon", "Tried to burn kudos via sending to Anonymous.")
    found = people.by_name(body.username)
    if len(found) != 1:
        raise HordeError(400, "InvalidTargetUsername", "Invalid target username.")
    if found[0].account == people.owner.account:
        raise HordeError(400, "KudosTransferToSelf", "Cannot send kudos to yourself, ya monkey!")
    if body.amount <= 0:
        raise HordeError(400, "NegativeKudosTransfer", "Nice try...")
    return found[0]
