"""Users are accounts of the mesh: their kudos are what the credit log says, their number comes from the account's id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from meshgen.gateway.callers import ANONYMOUS_KEY, Keys
from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.callers import UNKNOWN, asking, not_by_strangers
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.faults import PREFIX
from meshgen.gateway.horde.figures import Figures
from meshgen.gateway.horde.names import ANONYMOUS_ID, ANONYMOUS_NAME, uuid_of
from meshgen.gateway.horde.nearby import not_found
from meshgen.gateway.horde.people import People, User

PAGE = 25
Privileged = Callable[[], dict[str, Any]]
"""What only the owner reads of the own account: ids of shared keys, and of requests under way."""
NO_KUDOS = dict.fromkeys(("accumulated", "gifted", "donated", "admin", "received", "recurring", "awarded", "styled"), 0)
_LISTED: dict[str, Any] = {"active_generations": {}, "monthly_kudos": {}} | dict.fromkeys(
    ("evaluating_kudos", "suspicious", "contact", "admin_comment", "proxy_passkey")
)
"""Of everybody in the list: what AI Horde tells moderators, and nobody else."""
WORK = ("image", "text", "interrogation")


def user_routes(node: NodeFace, keys: Keys, people: People, figures: Figures, privileged: Privileged) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, tags=["AI Horde: accounts"])

    @routes.get("/find_user")
    async def find_user(request: Request) -> dict[str, Any]:
        """Whose key it is. A shared key is its owner's, who alone reads everything."""
        key = request.headers.get("apikey", "")
        if not key:
            raise HordeError(401, "InvalidAPIKey", UNKNOWN)
        try:
            caller = asking(request, keys)
        except HordeError:
            raise not_found(request, "User", key, "UserNotFound", "api_key") from None
        if caller.kind == "anonymous":
            return _anonymous()
        return details(people, figures, people.owner, own=True) | (privileged() if caller.kind == "owner" else {})

    @routes.get("/users")
    async def users(
        request: Request, page: Annotated[int, Query(ge=1, le=10_000)] = 1, sort: Literal["kudos", "age"] = "kudos"
    ) -> list[dict[str, Any]]:
        """25 a page. Those whose peers are about, not everybody who ever was."""
        not_by_strangers(request, keys)
        found = people.users()
        rows = [_LISTED | details(people, figures, user, own=at == 0) for at, user in enumerate(found)]
        rows.append(_LISTED | _anonymous())
        if sort == "kudos":
            rows.sort(key=lambda row: -row["kudos"])
        return rows[(page - 1) * PAGE : page * PAGE]

    @routes.get("/users/{user_id}")
    async def user(user_id: str, request: Request) -> dict[str, Any]:
        not_by_strangers(request, keys)
        number = int(user_id) if user_id.isascii() and user_id.isdecimal() and len(user_id) < 12 else -1
        if number == ANONYMOUS_ID:
            return _anonymous()
        found = people.by_id(number)
        if found is None:
            raise not_found(request, "User", user_id, "UserNotFound")
        own = node.peer_id in found.peers
        mine = own and request.headers.get("apikey", ANONYMOUS_KEY) != ANONYMOUS_KEY and asking(request, keys).kind == "owner"
        return details(people, figures, found, own=own) | (privileged() if mine else {})

    return routes


def details(people: People, figures: Figures, user: User, *, own: bool) -> dict[str, Any]:
    """UserDetails. What was asked for is known of the node's own requests alone, what was earned of everybody's log."""
    balance = people.balance(user.peers[0])
    kudos = balance["account_mkudos"] / 1000
    return _user(user.username, user.id, kudos, [uuid_of(peer) for peer in user.workers], figures if own else None)


def _anonymous() -> dict[str, Any]:
    return _user(ANONYMOUS_NAME, ANONYMOUS_ID, 0.0, [], None)


def _user(name: str, number: int, kudos: float, worker_ids: list[str], figures: Figures | None) -> dict[str, Any]:
    known = number != ANONYMOUS_ID
    return {
        "username": name,
        "id": number,
        "kudos": kudos,
        "concurrency": 500,
        "worker_invited": len(worker_ids),
        "moderator": False,
        "kudos_details": NO_KUDOS | {"accumulated": kudos},
        "worker_count": len(worker_ids),
        "worker_ids": worker_ids,
        "styles": [],
        "sharedkey_ids": [],
        "trusted": known,
        "flagged": False,
        "vpn": False,
        "service": False,
        "education": False,
        "customizer": False,
        "special": False,
        "deleted": False,
        "pseudonymous": known,
        "account_age": 0,
        "usage": {"megapixelsteps": None, "requests": None},
        "contributions": {"megapixelsteps": None, "fulfillments": None},
        "records": _records(figures),
    }


def _records(figures: Figures | None) -> dict[str, Any]:
    asked = {kind: sum(job.request.count for job in figures.jobs(kind)) if figures else 0 for kind in WORK}
    image, text = (figures.done("image").units, figures.done("text").units) if figures else (0.0, 0.0)
    return {
        "usage": {"megapixelsteps": round(image, 2), "tokens": round(text)},
        "contribution": {"megapixelsteps": 0.0, "tokens": 0},
        "fulfillment": dict.fromkeys(WORK, 0),
        "request": asked,
        "style": dict.fromkeys(WORK, 0),
    }
