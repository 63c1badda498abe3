"""Networks as ncnn keeps them: a text file of layers (.param) beside their weights (.bin). Read here, run by onnxruntime.

Only what an ESRGAN upscaler is made of is understood.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshgen.engine.port import EngineError

MAX_PARAM_BYTES = 1024 * 1024
MAX_LAYERS = 10_000
_MAGIC = "7767517"
_HALF = 0x01306B47
"""The tag of weights in half precision."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Layer:
    """``op`` is one of input, conv, concat, add and enlarge."""

    op: str
    inputs: tuple[str, ...]
    output: str
    weight: Array | None = None  # (out, in, rows, columns)
    bias: Array | None = None
    slope: float | None = None  # of the leaky rectifier behind a convolution
    factors: tuple[float, ...] = ()  # of the terms of a sum
    scale: int = 1
    stride: int = 1  # of a convolution

    @property
    def padding(self) -> int:
        """Zeros around what a convolution sees, so that a stride of 1 keeps the size."""
        return 0 if self.weight is None else (self.weight.shape[-1] - 1) // 2


class _Weights:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def tagged(self, count: int) -> Array:
        """In half or single precision, as the tag in front says."""
        (tag,) = struct.unpack("<I", self._take(4))
        if tag not in (0, _HALF):
            raise ValueError(f"its weights have the unknown tag {tag:#x}")
        kind = np.dtype("<f2" if tag == _HALF else "<f4")
        size = count * kind.itemsize
        return np.frombuffer(self._take(size + -size % 4)[:size], kind)

    def plain(self, count: int) -> Array:
        return np.frombuffer(self._take(4 * count), "<f4")

    def all_taken(self) -> bool:
        return self._at == len(self._data)

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size or size < 0:
            raise ValueError("its weights are cut off")
        self._at += size
        return taken


def read_ncnn(param: Path, weights: Path) -> list[Layer]:
    """The layers in the order in which they run. Raises EngineError("bad_model")."""
    try:
        if param.stat().st_size > MAX_PARAM_BYTES:
            raise ValueError("the list of its layers is too long")
        return _layers(param.read_text("ascii"), _Weights(weights.read_bytes()))
    except (ValueError, KeyError, IndexError, OSError) as error:
        what = f"{param.name} lacks {error}" if isinstance(error, KeyError) else str(error)
        raise EngineError("bad_model", f"{param.with_suffix('').name} is no upscaler that can be run: {what}") from None


def _layers(text: str, weights: _Weights) -> list[Layer]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if lines[0] != [_MAGIC] or len(lines) > MAX_LAYERS:
        raise ValueError("it does not begin as such a file does")
    layers: list[Layer] = []
    same_as: dict[str, str] = {}  # a split only gives one thing several names
    for kind, _, inputs, outputs, *rest in lines[2:]:
        first = int(inputs)
        sources = tuple(same_as.get(name, name) for name in rest[:first])
        targets = rest[first : first + int(outputs)]
        options = dict(option.split("=", 1) for option in rest[first + int(outputs) :])
        if kind == "Split":
            same_as |= dict.fromkeys(targets, sources[0])
        else:
            layers.append(_layer(kind, sources, targets[0], options, weights))
    if not weights.all_taken():
        raise ValueError("it has more weights than layers for them")
    return layers


def _layer(kind: str, inputs: tuple[str, ...], output: str, options: dict[str, str], weights: _Weights) -> Layer:
    match kind:
        case "Input":
            return Layer("input", (), output)
        case "Convolution":
            return _convolution(inputs, output, options, weights)
        case "Concat":
            return Layer("concat", inputs, output)
        case "BinaryOp" if options.get("0", "0") == "0":
            return Layer("add", inputs, output, factors=(1.0,) * len(inputs))
        case "Eltwise" if options["0"] == "1":
            return Layer("add", inputs, output, factors=tuple(_list(options["-23301"])))
        case "Interp" if options["0"] == "1" and options["1"] == options["2"]:
            return Layer("enlarge", inputs, output, scale=int(float(options["1"])))
    raise ValueError(f"its layer {kind} is unknown")


def _convolution(inputs: tuple[str, ...], output: str, options: dict[str, str], weights: _Weights) -> Layer:
    channels, side, count = int(options["0"]), int(options["1"]), int(options["6"])
    if options["4"] != str(side // 2) or options["5"] != "1":
        raise ValueError("it has a convolution that changes the size, or one without bias")
    weight = weights.tagged(count).reshape(channels, -1, side, side)
    slope = _list(options["-23310"])[0] if options.get("9") == "2" else None
    return Layer("conv", inputs, output, weight, weights.plain(channels), slope)


def _list(text: str) -> list[float]:
    """``2,0.2,1``: how many, then they."""
    count, *values = text.split(",")
    if int(count) != len(values):
        raise ValueError("one of its lists has another length than it says")
    return [float(value) for value in values]
