"""Pictures whose edges fit together: convolutions that go on at the other side. Child side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn import Conv2d


@contextmanager
def circular(*modules: Any) -> Iterator[None]:
    """Within, these modules' convolutions know no edges; a decoder works on the whole picture, as its tiles would have some."""
    convolutions = [one for module in modules for one in module.modules() if isinstance(one, Conv2d)]
    modes = [one.padding_mode for one in convolutions]
    tiled = [module for module in modules if getattr(module, "use_tiling", False)]
    try:
        for one in convolutions:
            one.padding_mode = "circular"
        for module in tiled:
            module.use_tiling = False
        yield
    finally:
        for one, mode in zip(convolutions, modes, strict=True):
            one.padding_mode = mode
        for module in tiled:
            module.use_tiling = True
