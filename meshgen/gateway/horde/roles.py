"""What AI Horde leaves to its operators, moderators and patrons. On a mesh nobody has such a role."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request

from meshgen.gateway.callers import Keys
from meshgen.gateway.horde.callers import asking
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.faults import PREFIX

MODERATOR = (403, "NotModerator", "You're not a mod. Sod off!")
NO_AWARDS = (403, "NotAllowedAwards", "This user is not allowed to award kudos.")
NO_TEAMS = (403, "UntrustedTeamCreation", "A mesh has no teams: nobody keeps their list.")
NO_STYLES = (403, "StylesRequiresCustomizer", "A node keeps no styles.")
NO_FORGETTING = (403, "NotPrivileged", "Accounts of the mesh are their owners' keys: nobody else can change or end one.")

ROLES: dict[tuple[str, ...], tuple[int, str, str]] = {
    ("GET /filters", "PUT /filters", "POST /filters", "GET /filters/regex"): MODERATOR,
    ("GET /filters/{filter_id}", "PATCH /filters/{filter_id}", "DELETE /filters/{filter_id}"): MODERATOR,
    ("PUT /operations/block_worker_ipaddr/{worker_id}", "DELETE /operations/block_worker_ipaddr/{worker_id}"): MODERATOR,
    ("GET /operations/ipaddr", "POST /operations/ipaddr", "DELETE /operations/ipaddr"): MODERATOR,
    ("GET /operations/ipaddr/{ipaddr}",): MODERATOR,
    ("POST /kudos/award",): NO_AWARDS,
    ("POST /teams", "PATCH /teams/{team_id}", "DELETE /teams/{team_id}"): NO_TEAMS,
    ("PUT /users/{user_id}", "DELETE /users/{user_id}"): NO_FORGETTING,
    ("POST /collections", "PATCH /collections/{collection_id}", "DELETE /collections/{collection_id}"): NO_STYLES,
    ("POST /styles/{kind}", "PATCH /styles/{kind}/{style_id}", "DELETE /styles/{kind}/{style_id}"): NO_STYLES,
    ("POST /styles/{kind}/{style_id}/example",): NO_STYLES,
    ("PATCH /styles/{kind}/{style_id}/example/{example_id}", "DELETE /styles/{kind}/{style_id}/example/{example_id}"): NO_STYLES,
}
NAMED = re.compile(r"\{(\w+)\}")


def role_routes(keys: Keys) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, tags=["AI Horde: roles"])
    for names, (status, rc, message) in ROLES.items():
        for name in names:
            method, path = name.split()
            refuse = _refusing(keys, status, rc, message)
            routes.add_api_route(path, refuse, methods=[method], name=name, openapi_extra={"parameters": _parameters(path)})
    return routes


def _parameters(path: str) -> list[dict[str, Any]]:
    """For the API's description: nobody reads them."""
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in NAMED.findall(path)]


def _refusing(keys: Keys, status: int, rc: str, message: str) -> Any:
    async def refuse(request: Request) -> dict[str, Any]:
        asking(request, keys)
        raise HordeError(status, rc, message)

    return refuse
