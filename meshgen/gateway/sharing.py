"""Routes under /v1/keys: what the owner shares with others. The owner's own key is in the home, and in no answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from meshgen.gateway.bodies import Body
from meshgen.gateway.errors import ApiError
from meshgen.gateway.keys import UNLIMITED, KeyRing, KeyRingError, SharedKey

MAX_KUDOS = 50_000_000
MAX_DAYS = 36_500


class ShareBody(Body):
    """A key for others. -1 = no limit."""

    name: str = Field(min_length=1, max_length=255, description="whose it is, or what for")
    kudos: Annotated[int, Field(ge=-1, le=MAX_KUDOS, description="the most that it may spend of the owner's credit")] = 5000
    days: Annotated[int, Field(ge=-1, le=MAX_DAYS, description="how long it opens the node")] = UNLIMITED
    max_image_pixels: int = Field(default=UNLIMITED, ge=-1, le=2**26)
    max_image_steps: int = Field(default=UNLIMITED, ge=-1, le=1000)
    max_text_tokens: int = Field(default=UNLIMITED, ge=-1, le=4096)


def sharing_routes(keys: KeyRing) -> APIRouter:
    routes = APIRouter(prefix="/v1/keys", tags=["keys"])

    @routes.get("")
    async def show() -> dict[str, Any]:
        """Oldest first. Ids are the keys themselves."""
        return {"keys": [key_view(key) for key in keys.shared()]}

    @routes.post("", status_code=201)
    async def share(body: ShareBody) -> dict[str, Any]:
        with _kept():
            return key_view(keys.share(**body.model_dump(exclude={"days"}), expires_ms=keys.expiry(body.days)))

    @routes.delete("/{key_id}")
    async def remove(key_id: str) -> dict[str, Any]:
        """Who has it is let in no more; jobs under way go on."""
        try:
            with _kept():
                keys.remove(key_id)
        except KeyError:
            raise ApiError(404, "no_key", "there is no such shared key", "key_id", "`meshgen key ls` shows them") from None
        return {"removed": key_id}

    return routes


def key_view(key: SharedKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "kudos": key.kudos,
        "used_mkudos": key.used_mkudos,
        "expires_ms": key.expires_ms,
        "max_image_pixels": key.max_image_pixels,
        "max_image_steps": key.max_image_steps,
        "max_text_tokens": key.max_text_tokens,
    }


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except KeyRingError as error:
        raise ApiError(409, "keys", str(error)) from None
