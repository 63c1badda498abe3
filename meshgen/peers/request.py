"""What a person asks for: pictures, a text, or a form of alchemy over a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal


class RequestError(ValueError):
    """The request can't be made; ``field`` is what is wrong with it."""

    def __init__(self, code: str, message: str, where: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = where


@dataclass(frozen=True, slots=True)
class Whom:
    """Which workers may be asked, by peer id: those in ``only``, if it names any, and none of ``never``."""

    only: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()

    def allows(self, peer: str) -> bool:
        return (not self.only or peer in self.only) and peer not in self.never


ANYBODY = Whom()


@dataclass(frozen=True, slots=True)
class LoraWish:
    name: str
    weight: float = 1.0
    clip_weight: float | None = None  # None = the weight


@dataclass(frozen=True, slots=True)
class InversionWish:
    """``place``: "prompt" or "negative_prompt" has it put there; empty or "none" where the prompt names it already."""

    name: str
    place: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ControlWish:
    """ControlNet of one control type: canny, depth, ..."""

    name: str
    image: bytes = field(repr=False)
    weight: float = 1.0
    is_map: bool = False
    return_map: bool = False


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Sides in pixels. ``seed`` None draws one; picture i of the request gets seed + i. Pictures that go in are
    encoded files."""

    prompt: str = field(repr=False)
    negative_prompt: str = field(default="", repr=False)
    model: str = ""  # "" = the model that most workers offer
    width: int = 0  # 0 = the model's own default, or the source's shape
    height: int = 0
    steps: int = 20
    guidance_scale: float = 5.0
    scheduler: str = ""
    seed: int | None = None
    count: int = 1
    max_mkudos: int | None = None  # for one picture; None = what the settings allow
    preview_every: int = 0
    private: bool = False  # leaves the prompt out of the picture's metadata
    shared: bool | None = None  # lets the pictures be shared, for less; None = as the settings say
    nsfw: bool = False  # what comes out may be not safe for work: goes to workers alone that take such jobs
    timeout_s: float | None = None
    patience_s: float | None = None  # without any worker; None = as the settings say
    whom: Whom = ANYBODY
    source: bytes = field(default=b"", repr=False)
    mask: bytes = field(default=b"", repr=False)  # white is painted anew
    strength: float = 0.75
    clip_skip: int = 1
    tiling: bool = False
    hires_fix: bool = False
    loras: tuple[LoraWish, ...] = ()
    inversions: tuple[InversionWish, ...] = ()
    control: ControlWish | None = None
    post: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextRequest:
    """Completions of a prompt, each of at most ``tokens`` tokens."""

    prompt: str = field(repr=False)
    model: str = ""
    tokens: int = 80
    context: int = 0  # tokens of the prompt that are read; 0 = as many as the model can
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stops: tuple[str, ...] = field(default=(), repr=False)
    seed: int | None = None
    count: int = 1
    max_mkudos: int | None = None
    nsfw: bool = False
    private: bool = False
    shared: bool | None = False
    timeout_s: float | None = None
    patience_s: float | None = None  # without any worker; None = as the settings say
    whom: Whom = ANYBODY


@dataclass(frozen=True, slots=True)
class FormRequest:
    """One form of alchemy over one picture, an encoded file. ``model`` is the form."""

    model: str
    source: bytes = field(repr=False)
    max_mkudos: int | None = None
    nsfw: bool = False
    seed: int | None = 0
    count: int = 1
    private: bool = False
    shared: bool | None = False
    timeout_s: float | None = None
    patience_s: float | None = None  # without any worker; None = as the settings say
    whom: Whom = ANYBODY


Request = ImageRequest | TextRequest | FormRequest
Kind = Literal["image", "text", "form"]
NOUNS: Mapping[Kind, str] = {"image": "picture", "text": "text", "form": "answer"}
"""What a result of each kind is called."""


def kind_of(request: Request) -> Kind:
    match request:
        case ImageRequest():
            return "image"
        case TextRequest():
            return "text"
    return "form"


def without_pictures(request: Request) -> Request:
    """What is kept of a request that is over: its pictures may be many megabytes."""
    match request:
        case ImageRequest():
            return replace(request, source=b"", mask=b"", control=None)
        case FormRequest():
            return replace(request, source=b"")
    return request


def input_bytes(request: Request) -> int:
    """Of the pictures that go in."""
    match request:
        case ImageRequest(source=source, mask=mask, control=control):
            return len(source) + len(mask) + (len(control.image) if control else 0)
        case FormRequest(source=source):
            return len(source)
    return 0
