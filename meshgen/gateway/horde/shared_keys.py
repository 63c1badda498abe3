"""AI Horde's shared keys: the owner lends credit, within limits. A key's id is the key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from meshgen.gateway.horde.bodies import HordeBody
from meshgen.gateway.horde.callers import owner_asking
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.faults import PREFIX
from meshgen.gateway.horde.people import People
from meshgen.gateway.keys import UNLIMITED, KeyRing, KeyRingError, SharedKey
from meshgen.gateway.sharing import MAX_DAYS, MAX_KUDOS

LIMITS = ("kudos", "name", "max_image_pixels", "max_image_steps", "max_text_tokens")
DEFAULT_KUDOS = 5000


class SharedKeyBody(HordeBody):
    """-1 = no limit, as at AI Horde."""

    kudos: int | None = Field(default=None, ge=-1, le=MAX_KUDOS)
    expiry: int | None = Field(default=None, ge=-1, le=MAX_DAYS, description="days")
    name: str | None = Field(default=None, min_length=3, max_length=255)
    max_image_pixels: int | None = Field(default=None, ge=-1, le=4_194_304)
    max_image_steps: int | None = Field(default=None, ge=-1, le=500)
    max_text_tokens: int | None = Field(default=None, ge=-1, le=500)

    def limits(self, keys: KeyRing) -> dict[str, Any]:
        """Those that were given."""
        given = {name: value for name in LIMITS if (value := getattr(self, name)) is not None}
        return given | ({} if self.expiry is None else {"expires_ms": keys.expiry(self.expiry)})


def shared_key_routes(people: People, keys: KeyRing) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/sharedkeys", tags=["AI Horde: keys"])

    @routes.put("")
    async def create(body: SharedKeyBody, request: Request) -> dict[str, Any]:
        owner_asking(request, keys)
        with _kept():
            return details(keys.share(**{"kudos": DEFAULT_KUDOS} | body.limits(keys)), people)

    @routes.get("/{sharedkey_id}")
    async def show(sharedkey_id: str) -> dict[str, Any]:
        """For whoever has it: there is no other way to know its id."""
        return details(_known(keys, sharedkey_id), people)

    @routes.patch("/{sharedkey_id}")
    async def change(sharedkey_id: str, body: SharedKeyBody, request: Request) -> dict[str, Any]:
        owner_asking(request, keys)
        limits = body.limits(keys)
        if not limits:
            raise HordeError(400, "NoSharedKeyModSelected", "No shared key modification selected!")
        _known(keys, sharedkey_id)
        with _kept():
            return details(keys.change(sharedkey_id, **limits), people)

    @routes.delete("/{sharedkey_id}")
    async def remove(sharedkey_id: str, request: Request) -> dict[str, Any]:
        owner_asking(request, keys)
        _known(keys, sharedkey_id)
        with _kept():
            keys.remove(sharedkey_id)
        return {"message": "OK"}

    return routes


def details(key: SharedKey, people: People) -> dict[str, Any]:
    """``kudos`` is what is left, ``utilized`` what was spent."""
    used = key.used_mkudos // 1000
    return {
        "id": key.id,
        "username": people.owner.username,
        "name": key.name or None,
        "kudos": key.kudos if key.kudos == UNLIMITED else max(0, key.kudos - used),
        "expiry": None if key.expires_ms == UNLIMITED else formatdate(key.expires_ms / 1000),
        "utilized": used,
        "max_image_pixels": key.max_image_pixels,
        "max_image_steps": key.max_image_steps,
        "max_text_tokens": key.max_text_tokens,
    }


def _known(keys: KeyRing, id: str) -> SharedKey:
    key = keys.find(id)
    if key is None:
        raise HordeError(404, "SharedKeyInvalid", "Shared Key Not Found.")
    return key


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except KeyRingError as error:
        raise HordeError(400, "BadRequest", str(error)) from None
