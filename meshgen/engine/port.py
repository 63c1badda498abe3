"""What peers compute: the seam between a worker and whatever draws its pictures.

:mod:`meshgen.engine.pool` runs diffusers in child processes; :mod:`meshgen.engine.fake` draws labelled pictures in a known time.
Nothing here imports torch, and neither may anything in the node's own process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


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
    digest: bytes  # SHA-256, 32 bytes: see meshgen.engine.catalog
    family: str  # one of meshgen.protocols.advert.FAMILIES
    default_size: int  # pixels of a side
    max_pixels: int
    features: tuple[str, ...] = ()  # txt2img, img2img, inpainting, negative_prompt, ...
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """One job, in the clear, for the engine alone. One picture a seed; all seeds may run as one batch."""

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
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished picture: a PNG without any text chunk."""

    index: int
    seed: int
    png: bytes
    seconds: float  # of compute, this picture's share


EngineEvent = Progress | Preview | Picture


class Engine(Protocol):
    """Leaving :meth:`run`'s context cancels the job within one step; the engine stays usable."""

    def device(self) -> DeviceInfo: ...

    def models(self) -> list[ModelInfo]: ...

    def free_slots(self) -> int:
        """How many jobs can start now without waiting."""

    def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:
        """Seconds of compute that such a job takes here: measured speed if there is one, else a guess from the device."""

    def run(self, work: Work) -> AbstractAsyncContextManager[AsyncIterator[EngineEvent]]:
        """Run one job; every seed yields exactly one Picture unless EngineError is raised.

        Entering never waits; the first event does while no slot is free."""
