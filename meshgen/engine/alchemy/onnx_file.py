"""Layers as an ONNX model in memory, which onnxruntime runs. The format is protobuf: numbered fields, each with its length."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np

from meshgen.engine.alchemy.ncnn import Array, Layer

IR_VERSION, OPSET = 8, 13
_INPUT = "<picture>"
_FLOAT = 1  # TensorProto.FLOAT
_A_FLOAT, _AN_INT, _A_STRING, _INTS = 1, 2, 3, 7  # AttributeProto's types

Value = float | int | str | Sequence[int]


def to_onnx(layers: Sequence[Layer], channels: int = 3) -> bytes:
    """A model that takes (1, channels, height, width) and has one output, of any size. Values are single precision."""
    nodes: list[bytes] = []
    tensors: list[bytes] = []
    for layer in layers:
        _add(layer, nodes, tensors)
    graph = [
        *(_field(1, node) for node in nodes),
        _field(2, "upscaler"),
        *(_field(5, tensor) for tensor in tensors),
        _field(11, _value(_INPUT, channels)),
        _field(12, _value(layers[-1].output, 0)),
    ]
    return _number(1, IR_VERSION) + _field(8, _field(1, "") + _number(2, OPSET)) + _field(7, b"".join(graph))


def _add(layer: Layer, nodes: list[bytes], tensors: list[bytes]) -> None:
    inputs, output = layer.inputs, layer.output
    match layer.op:
        case "input":
            nodes.append(_node("Identity", [_INPUT], output))
        case "conv" if layer.weight is not None and layer.bias is not None:
            names = [f"{output}.weight", f"{output}.bias"]
            tensors += [_tensor(names[0], layer.weight), _tensor(names[1], layer.bias)]
            side = layer.weight.shape[-1]
            summed = output if layer.slope is None else f"{output}.sum"
            how = {"kernel_shape": [side, side], "pads": [layer.padding] * 4, "strides": [layer.stride] * 2}
            nodes.append(_node("Conv", [inputs[0], *names], summed, **how))
            if layer.slope is not None:
                nodes.append(_node("LeakyRelu", [summed], output, alpha=layer.slope))
        case "concat":
            nodes.append(_node("Concat", inputs, output, axis=1))
        case "add":
            nodes.append(_node("Add", [_term(layer, place, nodes, tensors) for place in range(len(inputs))], output))
        case "enlarge":
            tensors.append(_tensor(f"{output}.scale", np.array([1, 1, layer.scale, layer.scale], np.float32)))
            nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            nodes.append(_node("Resize", [inputs[0], "", f"{output}.scale"], output, **nearest))


def _term(layer: Layer, place: int, nodes: list[bytes], tensors: list[bytes]) -> str:
    """One of a sum's terms, times its factor."""
    if layer.factors[place] == 1.0:
        return layer.inputs[place]
    name = f"{layer.output}.term{place}"
    tensors.append(_tensor(f"{name}.factor", np.array([layer.factors[place]], np.float32)))
    nodes.append(_node("Mul", [layer.inputs[place], f"{name}.factor"], name))
    return name


def _node(kind: str, inputs: Iterable[str], output: str, **attributes: Value) -> bytes:
    fields = [_field(1, name) for name in inputs] + [_field(2, output), _field(4, kind)]
    return b"".join(fields + [_field(5, _attribute(name, value)) for name, value in attributes.items()])


def _attribute(name: str, value: Value) -> bytes:
    start = _field(1, name)
    if isinstance(value, float):
        return start + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, _A_FLOAT)
    if isinstance(value, int):
        return start + _number(3, value) + _number(20, _AN_INT)
    if isinstance(value, str):
        return start + _field(4, value) + _number(20, _A_STRING)
    return start + b"".join(_number(8, item) for item in value) + _number(20, _INTS)


def _tensor(name: str, values: Array) -> bytes:
    sides = b"".join(_number(1, side) for side in values.shape)
    return sides + _number(2, _FLOAT) + _field(8, name) + _field(9, values.astype("<f4").tobytes())


def _value(name: str, channels: int) -> bytes:
    """The type of an input or output: one picture of so many channels (0: it follows) and any size."""
    depth = _number(1, channels) if channels else _field(2, f"{name}.channels")
    sides = (_number(1, 1), depth, _field(2, f"{name}.height"), _field(2, f"{name}.width"))
    return _field(1, name) + _field(2, _field(1, _number(1, _FLOAT) + _field(2, b"".join(_field(1, side) for side in sides))))


def _field(number: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
