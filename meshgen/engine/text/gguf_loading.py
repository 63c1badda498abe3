"""Has transformers open GGUF files in a third of the time. Child side: imports gguf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from gguf import GGUFReader


@contextmanager
def each_once() -> Iterator[None]:
    """transformers parses a file's header three times, and builds the table of its tensors' names once for every module."""
    library: Any = import_module("gguf")
    reader, names = library.GGUFReader, library.get_tensor_name_map
    library.GGUFReader, library.get_tensor_name_map = cache(_PlainReader), cache(names)
    try:
        yield
    finally:
        library.GGUFReader, library.get_tensor_name_map = reader, names


class _PlainReader(GGUFReader):
    """Takes its hundred thousands of slices from a plain array: a memmap's cost ten times as much."""

    @property
    def data(self) -> Any:
        return self._plain

    @data.setter
    def data(self, mapped: Any) -> None:
        self._plain = np.asarray(mapped)
