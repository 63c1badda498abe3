"""What node and child say to each other: msgpack maps, each behind its length in 4 bytes, big-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import msgpack  # type: ignore[import-untyped]

from meshgen.engine.port import Control, Inversion, Lora, TextWork, Work

MAX_FRAME_BYTES = 256 * 1024 * 1024
"""Room for the largest picture, 2**26 pixels, even if it does not compress at all."""
_LENGTH = struct.Struct(">I")

Frame = dict[str, Any]


class FrameError(ValueError):
    """The other end does not speak this; it must be replaced."""


def pack(frame: Frame) -> bytes:
    body: bytes = msgpack.packb(frame)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes; at most {MAX_FRAME_BYTES} fit")
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Bytes in, frames out; keeps what is incomplete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray) -> Iterator[Frame]:
        """Raises FrameError."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if size > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {size} bytes; at most {MAX_FRAME_BYTES} are taken")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield _unpack(body)


def _unpack(body: bytes) -> Frame:
    try:
        frame = msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"a frame that is no msgpack ({type(error).__name__})") from None
    if not isinstance(frame, dict):
        raise FrameError("a frame that is no map")
    return frame


def work_to_map(work: Work | TextWork) -> Frame:
    return {"text": isinstance(work, TextWork), **asdict(work)}


def work_from_map(fields: Frame) -> Work | TextWork:
    """The inverse, after a way as msgpack, which knows lists but no tuples. Raises TypeError, KeyError."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    if fields.pop("text"):
        return TextWork(**fields)
    fields["loras"] = tuple(Lora(**one) for one in fields["loras"])
    fields["inversions"] = tuple(Inversion(**one) for one in fields["inversions"])
    fields["control"] = Control(**fields["control"]) if fields["control"] else None
    return Work(**fields)
