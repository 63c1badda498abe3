"""Pipelines in the child's memory: loaded when first asked for, the longest unused let go. Child side: torch and diffusers."""

from __future__ import annotations

import gc
import json
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError

from meshgen.engine.devices import Device
from meshgen.engine.port import EngineError
from meshgen.engine.previews import Previewer
from meshgen.engine.schedulers import scheduler_of

SMALL_PARAMETERS = 50_000_000
"""Below this, more than one CPU thread costs more than it brings."""
FLOW_CLASSES = {
    "EulerDiscreteScheduler": "FlowMatchEulerDiscreteScheduler",
    "HeunDiscreteScheduler": "FlowMatchHeunDiscreteScheduler",
}
"""The same method for models that were trained by flow matching."""

diffusers.utils.logging.set_verbosity_error()  # their warnings would quote prompts
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
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
    relief: int = 0

    @property
    def scale(self) -> int:
        """Sides must be multiples of this many pixels."""
        scale = int(getattr(self.pipe, "vae_scale_factor", 8))
        return 2 * scale if hasattr(self.pipe, "_pack_latents") else scale

    def set_scheduler(self, name: str) -> None:
        """A fresh one for this job, set up as the model's own. Raises EngineError."""
        choice = scheduler_of(name)
        if choice is None:
            self.pipe.scheduler = type(self.scheduler).from_config(self.scheduler.config)
            return
        flow = type(self.scheduler).__name__.startswith("FlowMatch")
        class_name = FLOW_CLASSES.get(choice.class_name, choice.class_name) if flow else choice.class_name
        if flow != class_name.startswith("FlowMatch"):
            raise EngineError(
                "bad_input", f"the scheduler {name} does not fit this kind of model; leave it empty or take k_euler"
            )
        try:
            self.pipe.scheduler = getattr(diffusers, class_name).from_config(self.scheduler.config, **choice.settings)
        except ImportError:
            raise EngineError("unsupported", f"the scheduler {name} needs scipy here; run: pip install scipy") from None

    def relieve(self) -> bool:
        """Take the next measure against running out of memory: tiles, then offloading. False: there is none left."""
        self.relief += 1
        if self.relief == 1:
            vae = getattr(self.pipe, "vae", None)
            for measure in ("enable_tiling", "enable_slicing"):
                if hasattr(vae, measure):
                    getattr(vae, measure)()
            return True
        if self.relief == 2 and self.device.kind == "cuda":
            self.pipe.enable_model_cpu_offload(device=self.device.place)
            return True
        return False


class Pipelines:
    """At most ``keep`` pipelines at once."""

    def __init__(self, device: Device, threads: int = 0, keep: int = 2) -> None:
        self.device = device
        self._threads = threads
        self._keep = keep
        self._loaded: OrderedDict[tuple[str, str, bool], Loaded] = OrderedDict()
        if threads:
            torch.set_num_threads(threads)

    def get(self, folder: str, variant: str = "", pickles: bool = False) -> Loaded:
        """Raises EngineError (bad_model, out_of_memory)."""
        key = (folder, variant, pickles)
        if key not in self._loaded:
            self.let_go(keep=self._keep - 1)
            loaded = attempt(lambda: self._load(*key))
            if loaded is None:
                self.let_go(keep=0)
                loaded = attempt(lambda: self._load(*key))
            if loaded is None:
                raise EngineError("out_of_memory", "the model does not fit into this device's memory")
            self._loaded[key] = loaded
        self._loaded.move_to_end(key)
        self._set_threads(self._loaded[key])
        return self._loaded[key]

    def let_go(self, keep: int) -> None:
        """Keep the last used so many."""
        while len(self._loaded) > max(keep, 0):
            self._loaded.popitem(last=False)
        free_memory()

    def _load(self, folder: str, variant: str, pickles: bool) -> Loaded:
        try:
            pipe = diffusers.DiffusionPipeline.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=None if pickles else True,
                variant=variant or None,
                dtype=self.device.dtype,
                **_absent(Path(folder)),
            )
            pipe.set_progress_bar_config(disable=True)
            pipe.to(self.device.place)
        except torch.OutOfMemoryError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError, SafetensorError) as error:
            raise EngineError("bad_model", f"{folder} can't be loaded: {type(error).__name__}: {str(error)[:300]}") from None
        for part in ("unet", "vae"):
            if (module := getattr(pipe, part, None)) is not None:
                module.to(memory_format=torch.channels_last)
        return Loaded(pipe, pipe.scheduler, self.device, _parameters(pipe) < SMALL_PARAMETERS, Previewer(pipe))

    def _set_threads(self, loaded: Loaded) -> None:
        if not self._threads and self.device.kind == "cpu":
            torch.set_num_threads(1 if loaded.small else os.cpu_count() or 1)


def attempt(action: Callable[[], Loaded | bool]) -> Any:
    """The action's result, or None if memory ran out; by then its frames, and the tensors in them, are gone."""
    try:
        return action()
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
    free_memory()
    return None


def free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _absent(folder: Path) -> dict[str, Any]:
    """Parts that the index leaves out, and SDXL's watermark, which needs a package of its own."""
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    absent: dict[str, Any] = {name: None for name, value in index.items() if value == [None, None]}
    if str(index["_class_name"]).startswith("StableDiffusionXL"):
        absent["add_watermarker"] = False
    return absent


def _parameters(pipe: Any) -> int:
    modules = (part for part in pipe.components.values() if isinstance(part, torch.nn.Module))
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
