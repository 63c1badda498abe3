"""Pipelines in the child's memory: loaded when first asked for, moved out of the way or let go when others need the room.

Child side: torch and diffusers.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
import transformers

from meshgen.engine.diffusion.devices import Device, machine_memory_mib
from meshgen.engine.diffusion.loading import load_pipeline
from meshgen.engine.diffusion.memory import Budget, Fit, Move, Shelves, Tier, budget_of
from meshgen.engine.diffusion.moving import attempt, free_memory, parts_of, size_mib, to_device, to_machine
from meshgen.engine.diffusion.previews import Previewer
from meshgen.engine.diffusion.tuning import Plan, offload, tile, tune
from meshgen.engine.port import EngineError
from meshgen.engine.schedulers import SchedulerChoice, scheduler_of

__all__ = ["Loaded", "Pipelines", "attempt", "free_memory"]

SMALL_PARAMETERS = 50_000_000
"""Below this, more than one CPU thread costs more than it brings."""
FLOW_CLASSES = {
    "EulerDiscreteScheduler": "FlowMatchEulerDiscreteScheduler",
    "HeunDiscreteScheduler": "FlowMatchHeunDiscreteScheduler",
}
"""The same method for models that were trained by flow matching."""

diffusers.utils.logging.set_verbosity(logging.CRITICAL)  # their warnings would quote prompts; what they raise is told anyway
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity(logging.CRITICAL)
transformers.utils.logging.disable_progress_bar()


@dataclass(slots=True)
class Loaded:
    """A pipeline and what was learnt about it. ``relief``: how many measures against running out of memory are in force."""

    pipe: Any
    scheduler: Any
    """The model's own; each job gets a copy."""
    device: Device
    small: bool
    previewer: Previewer
    fit: Fit = Fit.WHOLE
    relief: int = 0
    shared: frozenset[str] = frozenset()
    """Parts that other models have too."""
    _fresh: dict[str, Any] = field(default_factory=dict, init=False)
    """Schedulers set up as the model's own, each job's to copy: setting one up takes longer than a small model's decoder."""
    _sizes: dict[str, int] = field(default_factory=dict, init=False)
    _adapters: list[str] | None = field(default=None, init=False)
    """Those in the model when ``_sizes`` were taken."""

    @property
    def scale(self) -> int:
        """Sides must be multiples of this many pixels."""
        scale = int(getattr(self.pipe, "vae_scale_factor", 8))
        return 2 * scale if hasattr(self.pipe, "_pack_latents") else scale

    @property
    def moves(self) -> bool:
        """Offloading moves its parts by itself."""
        return self.fit is Fit.WHOLE

    def set_scheduler(self, name: str) -> None:
        """A fresh one for this job, set up as the model's own. Raises EngineError."""
        choice = scheduler_of(name)
        self.pipe.scheduler = copy.deepcopy(self._scheduler(choice) if choice else self.scheduler)

    def sizes_mib(self) -> dict[str, int]:
        """Its parts', as they are with the LoRAs that were read."""
        parts = parts_of(self.pipe)
        adapters = [name for part in parts.values() for name in getattr(part, "peft_config", None) or ()]
        if adapters != self._adapters:
            self._sizes = {name: size_mib(part) for name, part in parts.items()}
            self._adapters = adapters
        return self._sizes

    def _scheduler(self, choice: SchedulerChoice) -> Any:
        key = f"{choice.class_name} {choice.settings}"
        if key not in self._fresh:
            self._fresh[key] = self._set_up(choice)
        return self._fresh[key]

    def _set_up(self, choice: SchedulerChoice) -> Any:
        flow = type(self.scheduler).__name__.startswith("FlowMatch")
        class_name = FLOW_CLASSES.get(choice.class_name, choice.class_name) if flow else choice.class_name
        if flow != class_name.startswith("FlowMatch"):
            raise EngineError(
                "bad_input", f"the scheduler {choice.name} does not fit this kind of model; leave it empty or take k_euler"
            )
        try:
            return getattr(diffusers, class_name).from_config(self.scheduler.config, **choice.settings)
        except ImportError:
            raise EngineError("unsupported", f"the scheduler {choice.name} needs scipy here; run: pip install scipy") from None

    def relieve(self) -> bool:
        """Take the next measure against running out of memory: tiles, then offloading. False: there is none left."""
        self.relief += 1
        if self.relief == 1:
            tile(self.pipe)
            return True
        if self.device.kind == "cuda" and self.fit < Fit.LAYER_BY_LAYER:
            self.fit = Fit(self.fit + 1)
            offload(self.pipe, self.fit, self.device.place)
            return True
        return False


@dataclass(slots=True)
class _Shared:
    """A part that several models have, by the digest of its files."""

    module: torch.nn.Module
    users: set[Hashable] = field(default_factory=set)


class Pipelines:
    """As many as memory holds, within the plan's limits."""

    def __init__(self, device: Device, threads: int = 0, plan: Plan | None = None, budget: Budget | None = None) -> None:
        self.device = device
        self._threads = threads
        self._plan = plan or Plan()
        self._budget = budget or budget_of(
            device.kind, device.memory_mib()[1], self._plan.leave_free_mib, machine_memory_mib()[1]
        )
        self._shelves = Shelves(self._budget)
        self._loaded: dict[Hashable, Loaded] = {}
        self._shared: dict[str, _Shared] = {}
        self._guests: dict[Hashable, Callable[[], None]] = {}
        if threads:
            torch.set_num_threads(threads)

    def get(self, model: Mapping[str, Any]) -> Loaded:
        """The model that a frame names, ready on the device. Raises EngineError (bad_model, out_of_memory)."""
        key = (model["path"], model["variant"], model["allow_pickle"], model.get("digest", ""))
        loaded = self._loaded.get(key)
        if loaded is None:
            loaded = self._insist(lambda: self._load_whole(key, model))
        elif self._shelves.tier(key) is Tier.RAM:
            self._insist(lambda: self._bring_back(key, loaded))
        else:
            self._carry_out(self._shelves.take_in(key, self._size(loaded)))
        self._set_threads(loaded)
        return loaded

    def make_room_for(self, key: Hashable, mib: int, let_go: Callable[[], None]) -> None:
        """Somebody else's model comes to the device; ``let_go`` is called when these pipelines need its room."""
        self._guests[key] = let_go
        self._carry_out(self._shelves.take_in(key, mib))

    def let_go(self, keep: int) -> None:
        """Keep the last used so many on the device."""
        self._carry_out(self._shelves.keep_last(keep))
        free_memory()

    def _insist(self, action: Any) -> Any:
        """If memory runs out, once more with everything else out of the way."""
        done = attempt(action)
        if done is None:
            self.let_go(keep=0)
            done = attempt(action)
        if done is None:
            raise EngineError("out_of_memory", "the model does not fit into this device's memory")
        return done

    def _load_whole(self, key: Hashable, model: Mapping[str, Any]) -> Loaded:
        try:
            return self._load(key, model)
        except NotImplementedError:  # what a weight without values can't do
            raise EngineError("bad_model", f"{model['path']} can't be loaded: weights are missing") from None

    def _load(self, key: Hashable, model: Mapping[str, Any]) -> Loaded:
        pipe = load_pipeline(model, self.device.dtype)
        pipe.set_progress_bar_config(disable=True)
        shared = self._share(key, pipe, model.get("parts", {}))
        tune(pipe, self._plan, self.device)
        parts = parts_of(pipe)
        sizes = [size_mib(part) for part in parts.values()]
        fit = self._budget.fit(sizes) if self.device.kind == "cuda" else Fit.WHOLE
        parameters = sum(weight.numel() for part in parts.values() for weight in part.parameters())
        loaded = Loaded(pipe, pipe.scheduler, self.device, parameters < SMALL_PARAMETERS, Previewer(pipe), fit, 0, shared)
        self._carry_out(self._shelves.take_in(key, self._size(loaded)))
        self._loaded[key] = loaded
        try:
            self._place(loaded)
        except BaseException:
            self._drop(key)
            raise
        return loaded

    def _place(self, loaded: Loaded) -> None:
        if loaded.fit is Fit.WHOLE:
            loaded.pipe.to(self.device.place)
        else:
            offload(loaded.pipe, loaded.fit, self.device.place)

    def _bring_back(self, key: Hashable, loaded: Loaded) -> bool:
        self._carry_out(self._shelves.take_in(key, self._size(loaded)))
        for part in parts_of(loaded.pipe).values():
            to_device(part, self.device.place)
        return True

    def _carry_out(self, moves: Sequence[Move]) -> None:
        for move in moves:
            if guest := self._guests.pop(move.key, None):
                guest()
                self._shelves.forget(move.key)
                continue
            loaded = self._loaded.get(move.key)
            if loaded is None:
                continue
            if move.to is Tier.DISK or not loaded.moves:
                self._drop(move.key)
                continue
            needed = self._on_device()
            for part in parts_of(loaded.pipe).values():
                if id(part) not in needed:
                    to_machine(part)
        if moves:
            free_memory()

    def _on_device(self) -> set[int]:
        """Parts of models that stay there: shared ones may not leave."""
        held = [loaded for key, loaded in self._loaded.items() if self._shelves.tier(key) is Tier.DEVICE]
        return {id(part) for loaded in held for part in parts_of(loaded.pipe).values()}

    def _drop(self, key: Hashable) -> None:
        self._loaded.pop(key, None)
        self._shelves.forget(key)
        for digest, shared in list(self._shared.items()):
            shared.users.discard(key)
            if not shared.users:
                del self._shared[digest]

    def _share(self, key: Hashable, pipe: Any, digests: Mapping[str, str]) -> frozenset[str]:
        """Parts whose very files are loaded already are taken from there. Only parts that no adapter ever changes."""
        shared = set()
        for name, part in parts_of(pipe).items():
            if name not in digests or not (name == "vae" or type(part).__name__.startswith("T5")):
                continue
            known = self._shared.setdefault(digests[name], _Shared(part))
            known.users.add(key)
            if known.module is not part:
                pipe.register_modules(**{name: known.module})
                shared.add(name)
        return frozenset(shared)

    def _size(self, loaded: Loaded) -> int:
        """What it holds on the device by itself, in MiB."""
        sizes = [mib for name, mib in loaded.sizes_mib().items() if name not in loaded.shared]
        return sum(sizes) if loaded.fit is Fit.WHOLE else max(sizes, default=0)

    def _set_threads(self, loaded: Loaded) -> None:
        if not self._threads and self.device.kind == "cpu":
            torch.set_num_threads(1 if loaded.small else os.cpu_count() or 1)
