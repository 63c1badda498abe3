"""What a GGUF file says of itself: its metadata and how large its tensors are, read without any library.

The layout, all little-endian: ``GGUF``, version (u32), tensors (u64), metadata entries (u64); the entries: key, type (u32),
value; for each tensor: name, dimensions (u32), each (u64), type (u32), offset (u64) from where the data begins, which is the next
multiple of ``general.alignment``. A string is its length (u64) and its UTF-8; an array its type (u32), length (u64) and values.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meshgen.engine.models.model_folder import ModelFolderError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_ENTRIES = 10_000
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 8

_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_DEFAULT_ALIGNMENT = 32

# fmt: off
_BLOCKS = {  # by its number: (name, values of a block, its bytes)
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}
# fmt: on

Value = int | float | bool | str | None
"""Arrays are passed over: None."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """``metadata`` holds no arrays. ``quantization`` is the type that most parameters have, as llama.cpp calls it."""

    metadata: Mapping[str, Value]
    parameters: int
    quantization: str

    def text(self, key: str) -> str:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        value = self.metadata.get(key)
        return value if isinstance(value, int) else 0


def read_gguf(path: Path) -> GgufHeader:
    """Raises ModelFolderError if it is damaged or cut, and OSError."""
    with path.open("rb") as opened:
        if opened.read(8) == b"version ":
            raise ModelFolderError(f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` where it came from")
        if path.stat().st_size < 24:
            raise ModelFolderError(f"{path} is not a GGUF file")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return _Reader(path, content).header()
            except (struct.error, UnicodeDecodeError, OverflowError):
                raise ModelFolderError(f"{path} is damaged or cut within its header: fetch it again") from None


class _Reader:
    """Goes through the header once. struct.error: it ends too early."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self._path = path
        self._content = content
        self._at = 0

    def header(self) -> GgufHeader:
        tensors, entries = self._counts()
        metadata: dict[str, Value] = {}
        for _ in range(entries):
            key = self._string()
            metadata[key] = self._value(self._one("I"))
        values: dict[str, int] = {}
        end = 0
        for _ in range(tensors):
            kind, count, after = self._tensor()
            values[kind] = values.get(kind, 0) + count
            end = max(end, after)
        self._check_length(metadata, end)
        return GgufHeader(metadata, sum(values.values()), max(values, key=lambda kind: values[kind]))

    def _counts(self) -> tuple[int, int]:
        magic, version, tensors, entries = struct.unpack_from("<4sIQQ", self._content)
        self._at = 24
        if magic != MAGIC:
            raise ModelFolderError(f"{self._path} is not a GGUF file")
        if version not in VERSIONS:
            raise ModelFolderError(f"{self._path} is GGUF version {version}; {' and '.join(map(str, VERSIONS))} can be read")
        if not 0 < tensors <= MAX_TENSORS or entries > MAX_ENTRIES:
            raise ModelFolderError(f"{self._path} tells of {tensors} tensors and {entries} entries: it holds no model")
        return tensors, entries

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            self._pass_array()
            return None
        if kind not in _FIXED:
            raise ModelFolderError(f"{self._path} is damaged: it has a value of the unknown type {kind}")
        value: int | float | bool = self._one(_FIXED[kind])
        return value

    def _pass_array(self) -> None:
        kind, length = self._one("I"), self._one("Q")
        if kind in _FIXED:
            self._pass(length * struct.calcsize(_FIXED[kind]))
        elif kind == _STRING:
            for _ in range(length):  # ends with the file: each takes at least its own length
                self._pass(self._one("Q"))
        else:
            raise ModelFolderError(f"{self._path} is damaged: it has an array of the unknown type {kind}")

    def _tensor(self) -> tuple[str, int, int]:
        """(type, values, where its data ends)"""
        name, dimensions = self._string(), self._one("I")
        if dimensions > MAX_DIMENSIONS:
            raise ModelFolderError(f"{self._path} is damaged: a tensor of {dimensions} dimensions")
        count = math.prod(self._one("Q") for _ in range(dimensions))
        kind, offset = self._one("I"), self._one("Q")
        if kind not in _BLOCKS:
            raise ModelFolderError(
                f"{self._path}: {name[:64]!r} has the unknown type {kind}; take another quantization, as Q4_K_M"
            )
        called, values, size = _BLOCKS[kind]
        return called, count, offset + count // values * size

    def _check_length(self, metadata: Mapping[str, Value], end: int) -> None:
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise ModelFolderError(f"{self._path} is damaged: its alignment is no number")
        whole, there = -(-self._at // alignment) * alignment + end, len(self._content)
        if there < whole:
            raise ModelFolderError(f"{self._path} is {there} bytes instead of {whole}: the download may be incomplete")

    def _string(self) -> str:
        start, length = self._at + 8, self._one("Q")
        self._pass(length)
        return self._content[start : start + length].decode("utf-8")

    def _pass(self, size: int) -> None:
        self._at += size
        if self._at > len(self._content):
            raise struct.error

    def _one(self, form: str) -> int:
        """An integer, mostly; whatever ``form`` says."""
        (value,) = struct.unpack_from(f"<{form}", self._content, self._at)
        self._at += struct.calcsize(f"<{form}")
        return value  # type: ignore[no-any-return]
