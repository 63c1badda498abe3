"""Stops the denoiser within a step: on a processor one step can take many seconds. Child side: torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn


@contextmanager
def interruptible(pipe: Any, check: Callable[[], object]) -> Iterator[None]:
    """Within, ``check`` is called before each block of the denoiser, and may raise. What is compiled is left as it is."""

    def before(_block: nn.Module, _given: object) -> None:
        check()

    with ExitStack() as hooks:
        for block in _blocks(pipe):
            hooks.callback(block.register_forward_pre_hook(before).remove)
        yield


def _blocks(pipe: Any) -> list[nn.Module]:
    denoiser = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if not isinstance(denoiser, nn.Module) or denoiser._compiled_call_impl is not None:
        return []
    return [block for blocks in denoiser.children() if isinstance(blocks, nn.ModuleList) for block in blocks]
