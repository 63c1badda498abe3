"""An upscaler's layers run by torch, for a GPU: the same pictures as by onnxruntime, many times faster. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from meshgen.engine.alchemy.ncnn import Array, Layer
from meshgen.engine.port import EngineError


class TorchNetwork:
    """In half precision on a GPU, as is usual for these networks."""

    def __init__(self, layers: Sequence[Layer], device: str) -> None:
        """Raises EngineError("bad_model") if there is no such device."""
        self._layers = layers
        self._device = device
        self._kind = torch.float32 if device == "cpu" else torch.float16
        try:
            self._weights = {layer.output: self._loaded(layer) for layer in layers if layer.op == "conv"}
        except (RuntimeError, AssertionError) as error:
            raise EngineError("bad_model", f"the device {device} can't be used ({type(error).__name__})") from None
        self._last_use = {name: place for place, layer in enumerate(layers) for name in layer.inputs}

    def run(self, values: Array) -> Array:
        """(1, channels, height, width), single precision in and out. Raises EngineError."""
        try:
            with torch.inference_mode():
                return np.asarray(self._run(torch.from_numpy(values).to(self._device, self._kind)).float().cpu().numpy())
        except torch.OutOfMemoryError:
            raise EngineError("out_of_memory", "the device has not enough free memory to enlarge this picture") from None
        except (RuntimeError, KeyError, IndexError) as error:
            raise EngineError("bad_model", f"its network can't be run ({type(error).__name__})") from None

    def _run(self, picture: Any) -> Any:
        known: dict[str, Any] = {}
        for place, layer in enumerate(self._layers):
            known[layer.output] = picture if layer.op == "input" else self._step(layer, [known[name] for name in layer.inputs])
            for name in layer.inputs:
                if self._last_use[name] == place:
                    known.pop(name, None)
        return known[self._layers[-1].output]

    def _step(self, layer: Layer, inputs: list[Any]) -> Any:
        match layer.op:
            case "conv":
                weight, bias = self._weights[layer.output]
                summed = functional.conv2d(inputs[0], weight, bias, stride=layer.stride, padding=layer.padding)
                return summed if layer.slope is None else functional.leaky_relu_(summed, layer.slope)
            case "concat":
                return torch.cat(inputs, 1)
            case "add":
                return sum(one if factor == 1.0 else one * factor for one, factor in zip(inputs, layer.factors, strict=True))
            case _:
                return functional.interpolate(inputs[0], scale_factor=layer.scale, mode="nearest")

    def _loaded(self, layer: Layer) -> tuple[Any, Any]:
        weight, bias = np.array(layer.weight, np.float32), np.array(layer.bias, np.float32)
        return torch.from_numpy(weight).to(self._device, self._kind), torch.from_numpy(bias).to(self._device, self._kind)
