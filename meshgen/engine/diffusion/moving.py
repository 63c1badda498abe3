"""Modules between the device's memory and the machine's. Child side: torch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch

from meshgen.engine.diffusion.devices import MIB


def parts_of(pipe: Any) -> dict[str, torch.nn.Module]:
    """A pipeline's modules by name."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def size_mib(module: torch.nn.Module) -> int:
    return int(sum(tensor.numel() * tensor.element_size() for tensor in module.parameters())) // MIB


def to_machine(module: torch.nn.Module) -> None:
    """Into page-locked memory where that can be had: the way back is several times as fast then."""
    module.to("cpu")
    for tensor in _tensors(module):
        if type(tensor.data) is torch.Tensor:
            tensor.data = _pinned(tensor.data)


def to_device(module: torch.nn.Module, place: str) -> None:
    module.to(place, non_blocking=True)
    if place.startswith("cuda"):
        torch.cuda.synchronize(place)


def attempt(action: Callable[[], Any]) -> Any:
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
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _pinned(data: torch.Tensor) -> torch.Tensor:
    try:
        return data.pin_memory() if torch.cuda.is_available() else data
    except RuntimeError:  # the system lets nobody lock so much
        return data
