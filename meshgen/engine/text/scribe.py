"""Writes text: the models in memory, and jobs on them in batches as large as memory allows. Child side: imports torch.

A completion follows from its seed. In float32 it is the same alone and in a batch; in 16 bits, rounding differs with the batch's
size, so that now and then two tokens of nearly the same chance change places.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from meshgen.engine.diffusion.devices import MIB, Device
from meshgen.engine.diffusion.moving import attempt, free_memory
from meshgen.engine.port import EngineError, TextWork
from meshgen.engine.text.causal import Causal, load_causal
from meshgen.engine.text.text_folder import read_text_folder
from meshgen.engine.text.writing import Cancelled, Tell, Writing

MAX_BATCH = 8
MAX_STOPS = 64
MAX_STOP_LENGTH = 1024


class Scribe:
    """At most ``keep`` models stay in memory. ``threads``: of the CPU; 0 = all."""

    def __init__(self, device: Device, threads: int = 0, keep: int = 1) -> None:
        self._device = device
        self._threads = threads
        self._keep = keep
        self._loaded: OrderedDict[tuple[str, bool], Causal] = OrderedDict()

    def write(self, model: dict[str, Any], work: TextWork, tell: Tell, cancelled: Callable[[], bool]) -> None:
        """Tells "text" {index, text} as it comes and "answer" {index, seed, data, media, seconds} at the end of each.

        Returns early if the job is cancelled, within one token. Raises EngineError.
        """
        check(work)
        if cancelled():
            return
        causal = self.warm(model)
        writing = Writing(causal, work, tell, cancelled)
        todo, size = list(range(len(work.seeds))), MAX_BATCH
        with suppress(Cancelled), torch.inference_mode():
            while todo:
                batch = todo[:size]
                if not attempt(lambda batch=batch: writing.write(batch)):  # type: ignore[misc]
                    if len(batch) == 1 and not self._make_room():
                        raise EngineError(
                            "out_of_memory", "this text does not fit into this device's memory; ask for less context"
                        )
                    size = max(len(batch) // 2, 1)
                todo = [index for index in todo if index not in writing.done]

    def warm(self, model: dict[str, Any]) -> Causal:
        """Have the model in memory, as the last that would be let go. Raises EngineError (bad_model, out_of_memory)."""
        key = (str(model["path"]), bool(model["allow_pickle"]))
        if key not in self._loaded:
            self.let_go(keep=self._keep - 1)
            causal = attempt(lambda: self._load(model))
            if causal is None:
                self.let_go(keep=0)
                causal = attempt(lambda: self._load(model))
            if causal is None:
                raise EngineError("out_of_memory", "the model does not fit into this device's memory")
            self._loaded[key] = causal
        self._loaded.move_to_end(key)
        if self._device.kind == "cpu":
            torch.set_num_threads(self._threads or os.cpu_count() or 1)
        return self._loaded[key]

    def let_go(self, keep: int) -> None:
        """Keep the last used so many."""
        while len(self._loaded) > max(keep, 0):
            self._loaded.popitem(last=False)
        free_memory()

    def parameters_mib(self, model: dict[str, Any]) -> int:
        """What the model takes once it is loaded: known of one that is, else from its files. Raises EngineError (bad_model)."""
        causal = self._loaded.get((str(model["path"]), bool(model["allow_pickle"])))
        if causal is not None:
            return causal.mib
        try:
            folder = read_text_folder(Path(model["path"]), bool(model["allow_pickle"]))
        except (ValueError, OSError) as error:
            raise EngineError("bad_model", str(error)) from None
        return int(folder.millions * 1_000_000 * self._device.dtype.itemsize // MIB)

    def loaded_mib(self) -> int:
        """Of all models in memory."""
        return sum(causal.mib for causal in self._loaded.values())

    def _load(self, model: dict[str, Any]) -> Any:
        return load_causal(model, self._device)

    def _make_room(self) -> bool:
        """Whether something could be let go beside the model in use."""
        if len(self._loaded) < 2:
            return False
        self.let_go(keep=1)
        return True


def check(work: TextWork) -> None:
    """Raises EngineError (bad_input)."""
    wrong = next((text for text, right in _rules(work).items() if not right), None)
    if wrong:
        raise EngineError("bad_input", wrong)


def _rules(work: TextWork) -> dict[str, bool]:
    return {
        "there must be a seed at least": bool(work.seeds),
        f"max_tokens must be 1 or more, not {work.max_tokens}": work.max_tokens >= 1,
        f"context must be 0 or more, not {work.context}": work.context >= 0,
        f"temperature must be 0 to 100, not {work.temperature:g}": 0 <= work.temperature <= 100,
        f"top_p must be above 0 and 1 at most, not {work.top_p:g}": 0 < work.top_p <= 1,
        f"top_k must be 0 or more, not {work.top_k}": work.top_k >= 0,
        f"min_p must be 0 to 1, not {work.min_p:g}": 0 <= work.min_p <= 1,
        f"repetition_penalty must be above 0 and 10 at most, not {work.repetition_penalty:g}": 0 < work.repetition_penalty <= 10,
        f"there can be {MAX_STOPS} stop sequences of 1 to {MAX_STOP_LENGTH} characters": len(work.stop) <= MAX_STOPS
        and all(1 <= len(stop) <= MAX_STOP_LENGTH for stop in work.stop),
    }
