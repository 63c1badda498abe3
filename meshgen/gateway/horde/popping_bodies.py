"""What AI Horde's workers send when they ask for jobs and hand in results."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from meshgen.engine.bridge.bridge import HandIn
from meshgen.engine.bridge.popper import MAX_PIXELS, TILE_PIXELS, Popper
from meshgen.gateway.horde.bodies import HordeBody

MAX_GENERATION = 90 * 2**20  # characters: 64 MiB in base64
MAX_NAME = 64
"""Of a model, as adverts hold it."""
IN_R2 = "R2"
"""Instead of the result: it was uploaded."""
_FAILED = ("download_failed", "parse_failed", "baseline_mismatch")

_Name = Annotated[str, Field(min_length=1, max_length=255)]


class _PopBody(HordeBody):
    """``priority_usernames`` and ``require_upfront_kudos`` mean nothing here: the node's owner decides whom it serves."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    bridge_agent: str = Field(default="unknown:0:unknown", max_length=1000)
    threads: int = Field(default=1, ge=1, le=50)
    amount: int = Field(default=1, ge=1, le=20)

    def told(self, models: list[str]) -> dict[str, Any]:
        """What every kind of worker says of itself."""
        names = tuple(dict.fromkeys(name for name in models if _can_be_told(name)))
        return {"name": self.name, "models": names, "agent": self.bridge_agent, "threads": self.threads, "amount": self.amount}


class _ModelsBody(_PopBody):
    models: list[_Name] = Field(default=[], max_length=1000)
    nsfw: bool = False
    blacklist: list[Annotated[str, Field(max_length=255)]] = Field(default=[], max_length=1000, repr=False)


class PopImages(_ModelsBody):
    max_pixels: int = Field(default=TILE_PIXELS, ge=64 * 64, le=2**30)
    allow_img2img: bool = True
    allow_painting: bool = True
    allow_post_processing: bool = True
    allow_controlnet: bool = True

    def popper(self) -> Popper:
        allowed = {
            "img2img": self.allow_img2img,
            "painting": self.allow_painting,
            "post-processing": self.allow_post_processing,
            "controlnet": self.allow_controlnet,
        }
        return Popper(
            kind="image",
            max_pixels=min(self.max_pixels, MAX_PIXELS),
            nsfw=self.nsfw,
            allows=frozenset(word for word, yes in allowed.items() if yes),
            blacklist=tuple(self.blacklist),
            **self.told(self.models),
        )


class PopTexts(_ModelsBody):
    max_length: int = Field(default=512, ge=1, le=2**20)
    max_context_length: int = Field(default=2048, ge=1, le=2**24)

    def popper(self) -> Popper:
        return Popper(
            kind="text",
            nsfw=self.nsfw,
            blacklist=tuple(self.blacklist),
            max_tokens=self.max_length,
            max_context=self.max_context_length,
            **self.told(self.models),
        )


class PopForms(_PopBody):
    threads: int = Field(default=1, ge=1, le=100)
    forms: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=100)
    max_tiles: int = Field(default=16, ge=1, le=256)

    def popper(self) -> Popper:
        return Popper(kind="alchemy", max_pixels=self.max_tiles * TILE_PIXELS, **self.told(self.forms))


class GenMetadata(HordeBody):
    type: str = Field(max_length=64)
    value: str = Field(max_length=64)
    ref: str | None = Field(default=None, max_length=255, repr=False)


class _SubmitBody(HordeBody):
    id: Annotated[str, Field(min_length=1, max_length=64)]
    state: Literal["ok", "censored", "faulted", "csam"] = "ok"
    gen_metadata: list[GenMetadata] = Field(default=[], max_length=64)

    def hand_in(self, data: bytes | None) -> HandIn:
        """What else it says counts too: a picture that it calls censored is one."""
        marks = {(mark.type, mark.value) for mark in self.gen_metadata}
        censored = getattr(self, "censored", False) or any(kind == "censorship" for kind, _ in marks)
        state = "censored" if self.state == "ok" and censored else self.state
        whys = sorted({value for _, value in marks if value in _FAILED})
        return HandIn(state, data, ", ".join(whys))


class SubmitImage(_SubmitBody):
    generation: str = Field(default=IN_R2, max_length=MAX_GENERATION, repr=False)
    seed: int
    censored: bool = False


class SubmitText(_SubmitBody):
    generation: str = Field(default="", max_length=2**22, repr=False)


class SubmitForm(_SubmitBody):
    result: dict[str, Any] | str = Field(default={}, repr=False)


def _can_be_told(name: str) -> bool:
    return name.isascii() and name.isprintable() and 3 <= len(name) <= MAX_NAME
