"""The node's side of alchemy: which forms there are, and the processes that do them. No network is loaded here."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from meshgen.engine.alchemy.forms import Form, find_forms
from meshgen.engine.alchemy.helper import Crew
from meshgen.engine.port import AdapterInfo, EngineError, ModelInfo

log = logging.getLogger(__name__)

MAX_PICTURE_BYTES = 192 * 1024 * 1024
MAX_CRASHES = 3
"""A form that crashes its process so many times in a row is no longer offered."""
MAX_LIGHT_HELPERS = 4
IDLE_S = 300.0
SILENCE_S = 180.0
"""Loading a large captioner from a slow disk is the longest silence; an upscaler speaks after each tile."""
MEMORY_MIB = 3072
"""What a process of a form without torch may take at most."""
GUESS_S = {"nsfw": 0.2, "cutout": 2.0, "colour": 0.5, "caption": 10.0, "interrogation": 5.0}
PROCESSOR_SPEED, GPU_SPEED = 12e9, 4e12
"""Multiplications in a second, for an upscaler that has not been measured yet."""
_NEWEST = 0.3  # how much the last measurement counts


@asynccontextmanager
async def open_alchemist(
    folder: Path | None = None,
    *,
    only: Collection[str] = (),
    device: str = "cpu",
    threads: int | None = None,
    memory_mib: int = MEMORY_MIB,
    idle_s: float = IDLE_S,
    silence_s: float = SILENCE_S,
    command: Sequence[str] | None = None,
) -> AsyncGenerator[Alchemist]:
    """An alchemist until the context is left; all its processes are gone then. Starts none: the first job of a kind does.

    ``folder`` holds the owner's own weights (see :mod:`meshgen.engine.alchemy`). ``only`` names the forms that are offered: empty
    or ``all`` for all of them, ``post-process`` for those that make a picture from a picture. ``device`` (cpu, cuda:N, mps) is
    where pictures are enlarged, captioned and interrogated, on a GPU by torch. ``threads`` says how many processors it may take,
    all but one if None. ``command`` starts another child than the real one.
    """
    found, missing = await trio.to_thread.run_sync(find_forms, folder, abandon_on_cancel=True)
    chosen = {name: form for name, form in found.items() if _is_wanted(form, only)}
    processors = threads or max(1, (os.cpu_count() or 1) - 1)
    child = list(command or (sys.executable, "-m", "meshgen.engine.alchemy.child"))
    bounded = ["--memory-mib", str(memory_mib)]  # a process with torch reserves more than it uses
    light = [*child, "--threads", "1", *bounded]
    with_torch = [*child, "--threads", str(processors), "--device", device]
    heavy = [*child, "--threads", str(processors), *bounded] if device == "cpu" else with_torch
    async with trio.open_nursery() as nursery:
        crews = {
            "light": Crew(light, min(MAX_LIGHT_HELPERS, processors), silence_s, idle_s, nursery),
            "heavy": Crew(heavy, 1, silence_s, idle_s, nursery),
            "torch": Crew(with_torch, 1, silence_s, idle_s, nursery),
        }
        try:
            yield Alchemist(chosen, missing, crews, GPU_SPEED if device != "cpu" else PROCESSOR_SPEED * processors)
        finally:
            nursery.cancel_scope.cancel()
            for crew in crews.values():
                await crew.close()


def _is_wanted(form: Form, only: Collection[str]) -> bool:
    return not only or "all" in only or form.name in only or (form.is_post and "post-process" in only)


class Alchemist:
    """Made by :func:`open_alchemist`."""

    def __init__(self, forms: dict[str, Form], missing: dict[str, str], crews: dict[str, Crew], speed: float) -> None:
        self.missing = missing  # forms that are not offered, and why
        self._forms = forms
        self._crews = crews
        self._speed = speed
        self._crashes: Counter[str] = Counter()
        self._measured: dict[str, float] = {}  # seconds; of an upscaler for one pixel

    def forms(self) -> list[ModelInfo]:
        return [form.model() for form in self._forms.values()]

    def posts(self) -> list[AdapterInfo]:
        """Those that make a picture from a picture."""
        return [form.post() for form in self._forms.values() if form.is_post]

    def free_slots(self, form: str) -> int:
        """How many jobs of this form can start now without waiting."""
        return self._crews[self._forms[form].crew].free() if form in self._forms else 0

    def estimate_s(self, form: str, pixels: int) -> float:
        """Seconds of compute for a picture of so many pixels, measured or else guessed; 0 for a form that is not offered."""
        known = self._forms.get(form)
        if known is None:
            return 0.0
        return self._measured.get(form, self._guess_s(known)) * (pixels if known.kind == "upscale" else 1)

    async def run(self, form: str, picture: bytes) -> tuple[bytes, str]:
        """What a form makes of a picture (an encoded file): data and its media type. Raises EngineError.

        Cancelling it ends the process that was at work, and with it the work.
        """
        known = self._forms.get(form)
        if known is None:
            raise EngineError("unknown_model", self.missing.get(form) or f"no form {form[:64]!r} here")
        if not 0 < len(picture) <= MAX_PICTURE_BYTES:
            raise EngineError("bad_input", f"a picture of {len(picture)} bytes: it must have 1 to {MAX_PICTURE_BYTES}")
        request = {
            "name": form,
            "kind": known.kind,
            "files": [str(file) for file in known.files],
            "enlarge": known.enlarge,
            "picture": picture,
        }
        try:
            async with self._crews[known.crew].helper() as helper:
                answer = await helper.ask(request)
        except EngineError as error:
            self._note_fault(form, error)
            raise
        self._crashes.pop(form, None)
        self._learn(known, answer["seconds"], answer["pixels"])
        return answer["data"], answer["media"]

    def _guess_s(self, form: Form) -> float:
        if form.kind != "upscale":
            return GUESS_S[form.kind]
        weights = form.files[-1].stat().st_size // 2  # most are in half precision; each is used once a pixel
        return weights / self._speed

    def _learn(self, form: Form, seconds: float, pixels: int) -> None:
        new = seconds / max(1, pixels) if form.kind == "upscale" else seconds
        before = self._measured.get(form.name, new)
        self._measured[form.name] = before + _NEWEST * (new - before)

    def _note_fault(self, form: str, error: EngineError) -> None:
        log.warning("alchemy: %s failed: %s", form, error)
        if error.reason == "crashed":
            self._crashes[form] += 1
        if error.reason == "bad_model" or self._crashes[form] >= MAX_CRASHES:
            often = f"it crashed {MAX_CRASHES} times in a row; the last time: " if error.reason == "crashed" else ""
            self.missing[form] = f"{often}{error}"
            self._forms.pop(form, None)
            log.error("alchemy: %s is not offered any more: %s", form, self.missing[form])
