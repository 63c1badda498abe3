"""ESRGAN upscalers as safetensors, by the names that their makers gave to the weights: the old layout's and the new one's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from meshgen.engine.alchemy.ncnn import Array, Layer
from meshgen.engine.port import EngineError

SLOPE = 0.2
_SHARE = 0.2
"""How much of what a block found is added to what it was given."""
_ENDS = {"first": "model.0", "body": "model.1.sub.{}", "up1": "model.3", "up2": "model.6", "hr": "model.8", "last": "model.10"}
"""The old layout's names; the new one's are conv_first, conv_body and so on."""


def read_esrgan(file: Path) -> list[Layer]:
    """The layers in the order in which they run. Raises EngineError("bad_model")."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return list(_Network(load_file(file)).layers())
    except KeyError as error:
        raise EngineError("bad_model", f"{file.name} is no ESRGAN upscaler: it lacks {error}") from None
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise EngineError("bad_model", f"{file.name} can't be read ({type(error).__name__})") from None


class _Network:
    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._is_old = "model.0.weight" in weights
        start = "model.1.sub." if self._is_old else "body."
        numbers = {key.removeprefix(start).split(".")[0] for key in weights if key.startswith(start) and ".conv" in key}
        self._blocks = len(numbers)

    def layers(self) -> Iterator[Layer]:
        first = self._conv("first", "in", self._end("first"))
        yield Layer("input", (), "in")
        if first.weight is not None and first.weight.shape[1] == 12:
            yield _fold("in", "folded")
            first = self._conv("first", "folded", self._end("first"))
        yield first
        name = "first"
        for block in range(self._blocks):
            yield from self._block(block, name)
            name = f"block{block}"
        yield self._conv("body", name, self._end("body"))
        yield _sum("features", {"body": 1.0, "first": 1.0})
        name = "features"
        for step in ("up1", "up2"):
            yield Layer("enlarge", (name,), f"{step}.large", scale=2)
            yield self._conv(step, f"{step}.large", self._end(step), SLOPE)
            name = step
        yield self._conv("hr", name, self._end("hr"), SLOPE)
        yield self._conv("last", "hr", self._end("last"))

    def _block(self, block: int, given: str) -> Iterator[Layer]:
        """Three dense blocks, then a share of what came out is added to what went in."""
        name = given
        for dense in (1, 2, 3):
            yield from self._dense(block, dense, name)
            name = f"block{block}.{dense}"
        yield _sum(f"block{block}", {name: _SHARE, given: 1.0})

    def _dense(self, block: int, dense: int, given: str) -> Iterator[Layer]:
        """Five convolutions, each of which sees all before it."""
        here = f"block{block}.{dense}"
        key = f"model.1.sub.{block}.RDB{dense}.conv{{}}.0" if self._is_old else f"body.{block}.rdb{dense}.conv{{}}"
        seen = [given]
        for place in range(1, 6):
            source = given if place == 1 else f"{here}.seen{place}"
            if place > 1:
                yield Layer("concat", tuple(seen), source)
            yield self._conv(f"{here}.conv{place}", source, key.format(place), SLOPE if place < 5 else None)
            seen.append(f"{here}.conv{place}")
        yield _sum(here, {seen[-1]: _SHARE, given: 1.0})

    def _conv(self, name: str, source: str, key: str, slope: float | None = None) -> Layer:
        weight, bias = self._weights[f"{key}.weight"], self._weights[f"{key}.bias"]
        if weight.ndim != 4 or weight.shape[2:] != (3, 3) or bias.shape != weight.shape[:1]:
            raise KeyError(f"a convolution of 3x3 under {key}")
        return Layer("conv", (source,), name, weight, bias, slope)

    def _end(self, name: str) -> str:
        return _ENDS[name].format(self._blocks) if self._is_old else f"conv_{name}"


def _sum(name: str, terms: Mapping[str, float]) -> Layer:
    return Layer("add", tuple(terms), name, factors=tuple(terms.values()))


def _fold(source: str, name: str) -> Layer:
    """Squares of 2x2 pixels become channels, by a convolution that only picks."""
    weight = np.eye(12, dtype=np.float32).reshape(12, 3, 2, 2)
    return Layer("conv", (source,), name, weight, np.zeros(12, np.float32), stride=2)
