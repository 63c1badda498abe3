"""A pipeline that knows its device. Child side.

diffusers' own look through all their modules for offloading's hooks, several times a picture: for a small model, a fifth
of a step. Here the device is one and the same for as long as the process lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch


@contextmanager
def placed(pipe: Any, place: str) -> Iterator[None]:
    """Within, ``pipe`` computes on ``place`` (``cuda:0``, as torch says it) without looking."""
    kind: Any = type(pipe)
    pipe.__class__ = _placed(kind, place)
    try:
        yield
    finally:
        pipe.__class__ = kind


@cache
def _placed(kind: Any, place: str) -> type:
    device = torch.device(place)
    return type(kind.__name__, (kind,), {"_execution_device": property(lambda _: device)})
