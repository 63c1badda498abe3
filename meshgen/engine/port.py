"""What peers compute: the seam between a worker and whatever draws its pictures.

:mod:`meshgen.engine.pool.engine` runs diffusers in child processes; :mod:`meshgen.engine.fake` draws labelled pictures in a known
time.
Nothing here imports torch, and neither may anything in the node's own process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class EngineError(Exception):
    """A job could not be done. ``reason`` is one of :data:`REASONS`; the text can be shown to a person and holds no prompt."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


REASONS = ("unknown_model", "unsupported", "out_of_memory", "crashed", "bad_model", "bad_input", "busy")


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """Where pictures are computed. Sizes in MiB; VRAM is system memory on ``cpu`` and ``mps``."""

    kind: str  # cuda, mps, cpu, fake
    name: str
    vram_total_mib: int
    vram_free_mib: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that this engine can run. ``digest`` identifies the weights, so that two peers mean the same by a name."""

    name: str
    digest: bytes  # SHA-256, 32 bytes: see meshgen.engine.models.catalog
    family: str  # one of meshgen.protocols.advert.FAMILIES
    default_size: int  # pixels of a side
    max_pixels: int
    features: tuple[str, ...] = ()  # txt2img, img2img, inpainting, negative_prompt, ...
    licence: str = ""
    source: str = ""  # where it came from, as its owner or its card says
    millions: int = 0  # parameters, of a text model: its price depends on them
    context: int = 0  # tokens, of a text model


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """Something that changes what a model draws or comes after it: named by its own weights."""

    kind: str  # lora, inversion, controlnet, post
    name: str  # of a controlnet the control type (canny, depth, ...), of a post-processor AI Horde's name for it
    digest: bytes  # SHA-256, 32 bytes
    family: str = ""  # of the models that it fits; "" = any
    enlarge: int = 1  # of a post-processor: how many times the sides grow
    licence: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Lora:
    name: str
    digest: bytes
    weight: float = 1.0
    clip_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Inversion:
    """A textual inversion; its token is its name. ``place``: put there by the engine, or "" where the prompt has it already."""

    name: str
    digest: bytes
    place: str = ""  # "", prompt, negative_prompt
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Control:
    """ControlNet: ``image`` is the picture to follow, or the map itself if ``is_map``."""

    name: str  # the control type
    digest: bytes
    image: bytes = field(repr=False)
    is_map: bool = False
    weight: float = 1.0
    return_map: bool = False
    """Hand back the map instead of a picture."""


@dataclass(frozen=True, slots=True)
class Work:
    """One job of pictures, in the clear, for the engine alone. One picture a seed; all seeds may run as one batch.

    Pictures that go in are encoded files (PNG, JPEG, WebP) of any size; they are fitted to ``width`` x ``height``.
    """

    model: str
    prompt: str = field(repr=False)
    negative_prompt: str = field(repr=False)
    width: int
    height: int
    steps: int
    guidance_scale: float
    scheduler: str  # "" = the model's own
    seeds: tuple[int, ...]
    preview_every: int = 0  # steps; 0 = no previews
    source: bytes = field(default=b"", repr=False)
    """To start from: img2img; with a mask, or where it is transparent, inpainting (outpainting, if that is around it)."""
    mask: bytes = field(default=b"", repr=False)
    """White is painted anew, black stays."""
    strength: float = 0.75
    """How much of the source is given up: from 0 to 1."""
    clip_skip: int = 1
    """As AI Horde counts: 1 takes the text encoder's last layer, 2 the one before it."""
    tiling: bool = False
    """The picture's edges fit together."""
    hires_fix: bool = False
    """Composed at the model's own size, then enlarged and refined."""
    loras: tuple[Lora, ...] = ()
    inversions: tuple[Inversion, ...] = ()
    control: Control | None = None
    post: tuple[str, ...] = ()
    """Post-processors by name, one after the other, once the picture is there."""


@dataclass(frozen=True, slots=True)
class TextWork:
    """One completion of a prompt for each seed."""

    model: str
    prompt: str = field(repr=False)
    max_tokens: int
    seeds: tuple[int, ...]
    context: int = 0  # tokens of the prompt that are read at most; 0 = as many as the model can
    temperature: float = 0.7  # 0 = always the likeliest token
    top_p: float = 1.0
    top_k: int = 0  # 0 = all
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class FormWork:
    """One form of alchemy over one picture, an encoded file."""

    form: str  # the model's name: nsfw, caption, interrogation, RealESRGAN_x4plus, strip_background, ...
    source: bytes = field(repr=False)


AnyWork = Work | TextWork | FormWork


@dataclass(frozen=True, slots=True)
class Progress:
    """``index`` is the picture's place in ``Work.seeds``; ``step`` counts from 1 to ``steps``."""

    index: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Preview:
    index: int
    step: int
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished picture: a PNG without any text chunk."""

    index: int
    seed: int
    png: bytes = field(repr=False)
    seconds: float  # of compute, this picture's share


@dataclass(frozen=True, slots=True)
class TextPart:
    """What has been added to a completion since the last one."""

    index: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished text (``text/plain``), or what a form found: ``application/json`` or ``image/png``."""

    index: int
    seed: int
    data: bytes = field(repr=False)
    media: str
    seconds: float


EngineEvent = Progress | Preview | Picture | TextPart | Answer


class Room(NamedTuple):
    """How many jobs an engine takes at once; jobs that it draws together count as one."""

    working: int
    preparing: int = 0
    """More, which it makes ready meanwhile."""


class Engine(Protocol):
    """Leaving :meth:`run`'s context cancels the job within one step; the engine stays usable."""

    def device(self) -> DeviceInfo: ...

    def models(self) -> list[ModelInfo]:
        """Those of text and alchemy too, by their families ``text`` and ``alchemy``."""

    def adapters(self) -> list[AdapterInfo]: ...

    def free_slots(self) -> int:
        """How many jobs can start now without waiting."""

    def room(self) -> Room: ...

    def company(self, work: AnyWork) -> tuple[Hashable | None, int]:
        """Jobs of equal keys are drawn together, up to so many pictures; None: this one is not."""

    def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:
        """Seconds of compute that such a job takes here: measured speed if there is one, else a guess from the device.

        ``steps`` are tokens for a text model.
        """

    def estimate_error(self) -> float | None:
        """By how much estimates were off lately: the median, as a share of what it took. None before the first job."""

    def run(self, work: AnyWork) -> AbstractAsyncContextManager[AsyncIterator[EngineEvent]]:
        """Run one job; every seed yields exactly one Picture or Answer unless EngineError is raised.

        Entering never waits; the first event does while no slot is free."""
