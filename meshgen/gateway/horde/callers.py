"""Who asks under ``/api/v2``: the header ``apikey``, as AI Horde has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Depends
from starlette.requests import Request

from meshgen.gateway.callers import ANONYMOUS, ANONYMOUS_KEY, Caller, Keys
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.faults import InvalidInput
from meshgen.gateway.origin import is_foreign_page, is_from_here, is_local

MISSING = "The API Key corresponding to a registered user. Missing required parameter in the HTTP headers"
UNKNOWN = "No user matching sent API Key. Have you remembered to register at https://stablehorde.net/register ?"
FORBIDDEN = "The anonymous key is for this node's own machine alone: use a key, as `meshgen key` shows it there."


def asking(request: Request, keys: Keys, *, required: bool = True) -> Caller:
    """Who shows no key where none is required is anonymous. Raises InvalidInput, HordeError."""
    key = request.headers.get("apikey", "")
    if not key and required:
        raise InvalidInput({"apikey": MISSING})
    if not key:
        return ANONYMOUS
    foreign = is_foreign_page(request.headers)
    anonymous = key == ANONYMOUS_KEY
    caller = None if anonymous and foreign else keys.caller(key, local=not foreign and is_local(request.scope))
    if caller is None and anonymous:
        raise HordeError(403, "AnonForbidden", FORBIDDEN)
    if caller is None:
        raise HordeError(401, "InvalidAPIKey", UNKNOWN)
    return caller


def not_by_strangers(request: Request, keys: Keys) -> None:
    """Who is about, with what, and whose node this is, no other site's page learns without a key. Frontends that run on this
    machine do: they ask for models before anybody has entered one. Raises HordeError."""
    if is_from_here(request.headers):
        return
    if is_foreign_page(request.headers) and asking(request, keys, required=False).kind == "anonymous":
        raise HordeError(401, "InvalidAPIKey", "Pages of other sites need a key for this.")


def guarded(keys: Keys) -> Sequence[Any]:
    """For all routes of a router: :func:`not_by_strangers`."""

    async def check(request: Request) -> None:
        not_by_strangers(request, keys)

    return [Depends(check)]


def owner_asking(request: Request, keys: Keys) -> Caller:
    """For what only the node's owner may do. Raises InvalidInput, HordeError."""
    caller = asking(request, keys)
    if caller.kind == "anonymous":
        raise HordeError(403, "AnonForbidden", "Anonymous user is forbidden from performing this operation")
    if caller.kind != "owner":
        raise HordeError(403, "NotPrivileged", "This needs the node's own key: a shared key asks for work, and for nothing else.")
    return caller
