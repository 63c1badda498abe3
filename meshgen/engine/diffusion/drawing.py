"""Draws jobs together: those of one batching key in batches as large as memory allows. Child side.

A batch goes through three stages: :meth:`Studio.encode` makes what the denoiser is told, :meth:`Drawing.denoise` runs it, and
:meth:`Drawing.finish` decodes, compresses and hands out the pictures. The first and the last may run in other threads beside
another batch's second, if both batches wear the same LoRAs (``outfit``).
"""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any
from weakref import WeakKeyDictionary

from PIL import Image

from meshgen.engine.diffusion.adapting import ControlNets, Files, Wardrobe
from meshgen.engine.diffusion.conditioning import Canvas, canvas_of
from meshgen.engine.diffusion.controls import map_of
from meshgen.engine.diffusion.decoding import decode, unpacked
from meshgen.engine.diffusion.devices import find_device
from meshgen.engine.diffusion.encoding import Row, TextEncoders
from meshgen.engine.diffusion.kinds import family_of, kind_of, unit_of
from meshgen.engine.diffusion.passes import Pass, composed
from meshgen.engine.diffusion.pipelines import Loaded, Pipelines, attempt
from meshgen.engine.diffusion.tiling import circular
from meshgen.engine.diffusion.tuning import Plan
from meshgen.engine.diffusion.watching import Cancelled, Member, Watch
from meshgen.engine.port import EngineError, Lora, Work

__all__ = ["Cancelled", "Drawing", "Member", "Studio"]

MAX_BATCH = 8
PNG_LEVEL = 4
PNG_THREADS = 4

UNFIT = (ValueError, TypeError, LookupError, ArithmeticError)
"""What a pipeline raises over arguments that it or its scheduler can't combine: that fails the job, and the child goes on."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to draw."""

    member: Member
    index: int
    row: Row = field(repr=False)
    canvas: Canvas | None
    map: Image.Image | None

    @property
    def seed(self) -> int:
        return self.member.work.seeds[self.index]


class Studio:
    """A device and the models on it. Raises EngineError if there is no such device."""

    def __init__(self, device: str, dtype: str, threads: int = 0, plan: Plan | None = None) -> None:
        self.device = find_device(device, dtype)
        self._pipelines = Pipelines(self.device, threads, plan)
        self._controlnets = ControlNets()
        self._wardrobes: WeakKeyDictionary[Any, Wardrobe] = WeakKeyDictionary()

    def load(self, model: dict[str, Any]) -> Loaded:
        """Raises EngineError."""
        return self._pipelines.get(model)

    def draw(self, model: dict[str, Any], members: Sequence[Member], files: Files | None = None) -> None:
        """Jobs of one batching key; ``files``: their adapters. Raises EngineError, which ends them all."""
        waiting, most = deque(self.encode(model, members, files)), MAX_BATCH
        while waiting:
            drawing = waiting.popleft()
            if len(drawing) > most:
                waiting.extendleft(reversed(drawing.cut(most)))
            elif attempt(drawing.draw):
                continue
            elif len(drawing) > 1:
                most = len(drawing) // 2
                waiting.appendleft(drawing)
            elif self.make_room(drawing.loaded):
                waiting.appendleft(drawing)
            else:
                raise EngineError("out_of_memory", f"{drawing.what} does not fit into this device's memory")

    def encode(self, model: dict[str, Any], members: Sequence[Member], files: Files | None = None) -> list[Drawing]:
        """The batches that these jobs of one key make. Raises EngineError."""
        started = time.perf_counter()
        members = [member for member in members if not member.cancelled()]
        if not members:
            return []
        loaded, work = self.load(model), members[0].work
        _check(loaded, work)
        wardrobe = self._wardrobes.setdefault(loaded.pipe, Wardrobe())
        dress = partial(wardrobe.wear, loaded.pipe, work.loras, files or {})
        control = partial(self._controlnets.get, loaded.pipe, work.control, files or {}, loaded.device.place)
        shots = None
        while shots is None:
            shots = attempt(lambda: self._shots(loaded, members, wardrobe, dress, files or {}))
            if shots is None and not self.make_room(loaded):
                raise EngineError("out_of_memory", "the prompt does not fit into this device's memory")
        whole = [Drawing(loaded, group, dress, control) for group in _alike(shots)]
        drawings = [part for drawing in whole for part in drawing.cut(self._batch_size(work))]
        for drawing in drawings:
            drawing.spent_s = (time.perf_counter() - started) * len(drawing) / len(shots)
        return drawings

    def make_room(self, loaded: Loaded) -> bool:
        """After memory ran out. False: there is no more to be had."""
        self._controlnets.let_go()
        self._pipelines.let_go(keep=1)
        return loaded.relieve()

    def _shots(
        self, loaded: Loaded, members: Sequence[Member], wardrobe: Wardrobe, dress: Callable[[], None], files: Files
    ) -> list[Shot]:
        work = members[0].work
        if work.control and work.control.return_map:
            return [shot for member in members for shot in _shots_of(member, {})]
        dress()
        encoders = TextEncoders(loaded.pipe, loaded.device.place, work, wardrobe.vectors(work.inversions, files))
        return [
            shot
            for member in members
            for shot in _shots_of(member, encoders.row(member.work.prompt, member.work.negative_prompt))
        ]

    def _batch_size(self, work: Work) -> int:
        return max(1, min(MAX_BATCH, self.device.batch_pixels() // (work.width * work.height)))


class Drawing:
    """One batch of pictures that differ in prompts, seeds and sources alone."""

    def __init__(
        self, loaded: Loaded, shots: Sequence[Shot], dress: Callable[[], None], control: Callable[[], Any], spent_s: float = 0.0
    ) -> None:
        self.loaded = loaded
        self.spent_s = spent_s
        self._shots = list(shots)
        self._dress = dress
        self._control = control
        self._work = shots[0].member.work
        self._watch = Watch([(shot.member, shot.index) for shot in shots], loaded.previewer)
        self._drawn: Any = None

    def __len__(self) -> int:
        return len(self._shots)

    @property
    def what(self) -> str:
        return f"{self._work.width}x{self._work.height}"

    @property
    def outfit(self) -> tuple[Lora, ...]:
        return self._work.loras

    def cut(self, most: int) -> list[Drawing]:
        """The same pictures in batches of ``most``."""
        parts = [self._shots[start : start + most] for start in range(0, len(self), most)]
        return [Drawing(self.loaded, part, self._dress, self._control, self.spent_s * len(part) / len(self)) for part in parts]

    def draw(self) -> bool:
        """Raises EngineError, and torch's errors when memory runs out."""
        try:
            self.denoise()
            self.finish()
        except Cancelled:
            pass
        return True

    def denoise(self) -> None:
        """Raises Cancelled, EngineError, and torch's errors when memory runs out."""
        started = time.perf_counter()
        self._watch.living()
        if self._only_maps:
            return
        self._dress()
        try:
            with self._edges():
                self._drawn = self._passes()
        except UNFIT as error:
            raise _unfit(self._work, error) from None
        self.spent_s += time.perf_counter() - started

    def finish(self) -> None:
        """Tells the pictures. Raises Cancelled, and torch's errors when memory runs out."""
        started = time.perf_counter()
        self._watch.living()
        with ThreadPoolExecutor(PNG_THREADS) as threads:
            pngs = list(threads.map(_png, self._images()))
        self._drawn = None
        living, seconds = self._watch.living(), (self.spent_s + time.perf_counter() - started) / len(self)
        for shot, png in zip(self._shots, pngs, strict=True):
            if shot.member in living:
                shot.member.tell("picture", index=shot.index, seed=shot.seed, png=png, seconds=seconds)

    @property
    def _only_maps(self) -> bool:
        return bool(self._work.control and self._work.control.return_map)

    def _passes(self) -> Any:
        """Latents as the pipeline leaves them, or pictures of a family that is not known here."""
        work, shots, controlnet = self._work, self._shots, self._control()
        one = Pass(self.loaded, work, [shot.row for shot in shots], [shot.seed for shot in shots], self._watch)
        canvases = [shot.canvas for shot in shots if shot.canvas]
        maps = [shot.map for shot in shots if shot.map]
        size, first = (work.width, work.height), None if canvases else composed(self.loaded.pipe, work)
        if first:
            return one.run_twice(first, size, controlnet, maps)
        return one.run(size, canvases, controlnet, maps, work.strength)

    def _images(self) -> list[Image.Image]:
        if self._only_maps:
            return [shot.map for shot in self._shots if shot.map]
        images: list[Image.Image] = self._drawn if isinstance(self._drawn, list) else self._decoded()
        pairs = zip(self._shots, images, strict=True)
        return [shot.canvas.paste_back(image) if shot.canvas else image for shot, image in pairs]

    def _decoded(self) -> list[Image.Image]:
        pipe = self.loaded.pipe
        latents = unpacked(pipe, self._drawn, (self._work.width, self._work.height))
        with self._edges():
            images = decode(pipe, latents)
        pipe.maybe_free_model_hooks()
        self.loaded.previewer.learn(latents, images)
        return images

    def _edges(self) -> AbstractContextManager[None]:
        pipe = self.loaded.pipe
        return circular(pipe.unet, pipe.vae) if self._work.tiling else nullcontext()


def _shots_of(member: Member, row: Row) -> list[Shot]:
    """Raises EngineError."""
    work = member.work
    canvas = canvas_of(work)
    made = map_of(work.control, (work.width, work.height)) if work.control else None
    return [Shot(member, index, row, canvas, made) for index in range(len(work.seeds))]


def _alike(shots: Sequence[Shot]) -> list[list[Shot]]:
    """Those that can be one batch: prompts of one length, and all with a mask or none."""
    groups: dict[Any, list[Shot]] = {}
    for shot in shots:
        shapes = tuple(sorted((name, getattr(value, "shape", None)) for name, value in shot.row.items()))
        groups.setdefault((shapes, kind_of(shot.canvas)), []).append(shot)
    return list(groups.values())


def _check(loaded: Loaded, work: Work) -> None:
    unit = unit_of(loaded.pipe)
    if work.width % unit or work.height % unit:
        raise EngineError("bad_input", f"{work.width}x{work.height}: this model needs sides in steps of {unit} pixels")
    if not 0 <= work.strength <= 1:
        raise EngineError("bad_input", f"strength {work.strength}: it goes from 0 to 1")
    if work.tiling and family_of(loaded.pipe) not in ("sd1", "sdxl"):
        raise EngineError("unsupported", "tiling needs a model of the SD 1 or SDXL family")


def _unfit(work: Work, error: Exception) -> EngineError:
    """The error's own text may quote a prompt."""
    where = inspect.trace()[-1]
    return EngineError(
        "bad_input",
        f"the pipeline can't do {work.steps} steps with {work.scheduler or 'its own scheduler'} at "
        f"{work.width}x{work.height} ({type(error).__name__} in {where.function}, line {where.lineno})",
    )


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()
