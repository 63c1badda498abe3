"""The engine's deterministic twin: labelled pictures in a known time, for tests and for benchmarks of the mesh itself.

A picture shows its model's name and, if it takes time, its seed; it never shows the prompt. Its colours follow from the seed, so
the same seed gives the same bytes. At zero seconds a picture costs microseconds: its body is cached, only its palette is new.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from math import prod
from typing import Literal

import trio
from PIL import Image, ImageDraw

from meshgen.engine.port import (
    AdapterInfo,
    Answer,
    AnyWork,
    DeviceInfo,
    EngineError,
    EngineEvent,
    FormWork,
    ModelInfo,
    Picture,
    Preview,
    Progress,
    Room,
    TextPart,
    TextWork,
    Work,
)

_PALETTE_AT = 33  # behind the signature (8 bytes) and IHDR (25)


@dataclass(frozen=True, slots=True)
class Fault:
    """What a test wants to go wrong when picture ``at`` (its place in ``Work.seeds``) is due: half-way through its steps for
    ``crash`` and ``hang``, in its bytes for ``garbage`` and ``wrong_size``."""

    kind: Literal["crash", "hang", "garbage", "wrong_size"]
    at: int = 0


def fake_model(name: str = "fake", default_size: int = 64, max_pixels: int = 2048 * 2048) -> ModelInfo:
    """A model that only :class:`FakeEngine` knows; its digest follows from its name."""
    digest = sha256(b"meshgen fake model " + name.encode()).digest()
    return ModelInfo(name, digest, "other", default_size, max_pixels, ("txt2img", "negative_prompt"), "AGPL-3.0-or-later")


class FakeEngine:
    """Implements :class:`meshgen.engine.port.Engine`. ``seconds_per_picture`` passes on trio's clock, hence at once under
    a virtual one. ``fault`` can be set and cleared between jobs."""

    def __init__(
        self,
        models: Sequence[ModelInfo] | None = None,
        seconds_per_picture: float = 0.0,
        slots: int = 1,
        name: str = "fake device",
        fail: Fault | None = None,
        adapters: Sequence[AdapterInfo] = (),
    ) -> None:
        self.seconds_per_picture = seconds_per_picture
        self.fault = fail
        self._models = {model.name: model for model in ([fake_model()] if models is None else models)}
        self._adapters = list(adapters)
        self._device = DeviceInfo("fake", name, vram_total_mib=8192, vram_free_mib=8192)
        self._slots = trio.Semaphore(slots)
        self._slots_in_all = slots

    def device(self) -> DeviceInfo:
        return self._device

    def models(self) -> list[ModelInfo]:
        return list(self._models.values())

    def adapters(self) -> list[AdapterInfo]:
        return self._adapters

    def free_slots(self) -> int:
        return self._slots.value

    def room(self) -> Room:
        return Room(self._slots_in_all)

    def company(self, work: AnyWork) -> tuple[Hashable | None, int]:  # noqa: ARG002
        return None, 1

    def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:  # noqa: ARG002
        return self.seconds_per_picture * count

    def estimate_error(self) -> float | None:
        return None

    @asynccontextmanager
    async def run(self, work: AnyWork) -> AsyncGenerator[AsyncIterator[EngineEvent]]:
        self._check(work)
        async with aclosing(self._in_turn(work)) as events:
            yield events

    async def _in_turn(self, work: AnyWork) -> AsyncGenerator[EngineEvent]:
        do = self._draw_all(work) if isinstance(work, Work) else self._answer(work)
        async with self._slots, aclosing(do) as events:
            async for event in events:
                yield event

    def _check(self, work: AnyWork) -> None:
        name = work.form if isinstance(work, FormWork) else work.model
        model = self._models.get(name)
        if model is None:
            raise EngineError("unknown_model", f"no model {name!r} here; there is {', '.join(self._models) or 'none'}")
        if not isinstance(work, Work):
            return
        if work.width < 1 or work.height < 1 or work.width * work.height > model.max_pixels:
            raise EngineError(
                "bad_input", f"{work.width}x{work.height} is not a size for {work.model}: at most {model.max_pixels} pixels"
            )
        if work.steps < 1 or not work.seeds:
            raise EngineError("bad_input", "a job needs at least one step and one seed")

    async def _answer(self, work: TextWork | FormWork) -> AsyncGenerator[EngineEvent]:
        """A text that counts its words; of a form, what it is called, or an empty picture of the size that it should have."""
        if isinstance(work, FormWork):
            await trio.sleep(self.seconds_per_picture)
            yield self._form(work)
            return
        for index, seed in enumerate(work.seeds):
            words = [f"word{number} " for number in range(min(work.max_tokens, 8))]
            for word in words:
                await trio.sleep(self.seconds_per_picture / len(words))
                yield TextPart(index, word)
            yield Answer(index, seed, "".join(words).encode(), "text/plain", self.seconds_per_picture)

    def _form(self, work: FormWork) -> Answer:
        grown = [adapter.enlarge for adapter in self._adapters if (adapter.kind, adapter.name) == ("post", work.form)]
        if not grown:
            return Answer(0, 0, json.dumps({work.form: "fake"}).encode(), "application/json", self.seconds_per_picture)
        with Image.open(BytesIO(work.source)) as image:
            width, height = (side * grown[0] for side in image.size)
        return Answer(0, 0, _body(work.form, width, height), "image/png", self.seconds_per_picture)

    async def _draw_all(self, work: Work) -> AsyncGenerator[EngineEvent]:
        for index, seed in enumerate(work.seeds):
            fault = self.fault.kind if self.fault and self.fault.at == index else None
            for step in range(1, work.steps + 1):
                await trio.sleep(self.seconds_per_picture / work.steps)
                if fault in ("crash", "hang") and 2 * step > work.steps:
                    await self._stumble(fault)
                yield Progress(index, step, work.steps)
                if work.preview_every and step % work.preview_every == 0:
                    yield Preview(index, step, _jpeg(self._picture(work, seed)))
            yield Picture(index, seed, self._picture(work, seed, fault), self.seconds_per_picture)

    async def _stumble(self, fault: str) -> None:
        if fault == "hang":
            await trio.sleep_forever()
        raise EngineError("crashed", "the fake engine crashed, as it was told to")

    def _picture(self, work: Work, seed: int, fault: str | None = None) -> bytes:
        if fault == "garbage":
            return b"this is not a picture"
        label = f"{work.model}\n{seed}" if self.seconds_per_picture else work.model
        grows = {adapter.name: adapter.enlarge for adapter in self._adapters if adapter.kind == "post"}
        grown = prod(grows.get(name, 1) for name in work.post)
        width = work.width * grown + (fault == "wrong_size")
        return _tint(_body(label, width, work.height * grown), work.model, seed)


@lru_cache(maxsize=256)
def _body(label: str, width: int, height: int) -> bytes:
    """A PNG of two palette entries, 1 bit a pixel: a frame with the label inside."""
    image = Image.new("P", (width, height))
    image.putpalette([0, 0, 0, 255, 255, 255])
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width - 1, height - 1), outline=1)
    draw.text((4, 4), label, fill=1, font_size=max(8, min(width, height) // 8))
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _tint(png: bytes, model: str, seed: int) -> bytes:
    """The same picture in the seed's colours: a dark ground, a light frame and label."""
    tone = sha256(f"{model}/{seed}".encode()).digest()[:6]
    colours = bytes(value // 2 for value in tone[:3]) + bytes(255 - value // 3 for value in tone[3:])
    end = _PALETTE_AT + 12 + int.from_bytes(png[_PALETTE_AT : _PALETTE_AT + 4], "big")
    chunk = b"PLTE" + colours
    return b"".join(
        (png[:_PALETTE_AT], len(colours).to_bytes(4, "big"), chunk, zlib.crc32(chunk).to_bytes(4, "big"), png[end:]),
    )


def _jpeg(png: bytes) -> bytes:
    file = BytesIO()
    with Image.open(BytesIO(png)) as image:
        image.convert("RGB").save(file, "JPEG")
    return file.getvalue()
