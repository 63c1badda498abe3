"""Textual inversions: words that stand for vectors of their own. They are never put into a model. Child side."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from meshgen.engine.diffusion.emphasis import Fragment
from meshgen.engine.port import EngineError, Inversion

MAX_VECTORS = 75
_MARKS = 0xE000  # a character of private use for each inversion of a job
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_PLACES = ("clip_l", "clip_g")  # names of vectors, by their text encoder's place in the pipeline


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of one file: tensors (vectors, width) by their names in it."""

    tensors: dict[str, Any]

    def of_width(self, width: int, number: int) -> list[Any]:
        """For a text encoder so wide, the pipeline's ``number``-th; none if it has none for that."""
        fitting = {name: tensor for name, tensor in self.tensors.items() if tensor.shape[1] == width}
        own = fitting.get(_PLACES[number])
        if own is None and not fitting.keys() & set(_PLACES):
            own = next(iter(fitting.values()), None)
        return [] if own is None else list(own)


def read_vectors(path: Path, name: str) -> Vectors:
    """From safetensors, or from torch's own format without running what is in it. Raises EngineError."""
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError):
        raise EngineError("unsupported", f"the textual inversion {name[:64]} can't be read here") from None
    if isinstance(content, dict) and isinstance(content.get("string_to_param"), dict):
        content = content["string_to_param"]
    found = {key: _rows(value) for key, value in content.items()} if isinstance(content, dict) else {}
    tensors = {str(key): value for key, value in found.items() if value is not None}
    if not tensors:
        raise EngineError("unsupported", f"the textual inversion {name[:64]} holds no vectors that are known here")
    return Vectors(tensors)


def mark(text: str, inversions: Sequence[Inversion], place: str) -> tuple[str, list[Fragment]]:
    """The text with each inversion's name (``embedding:`` before it or not) as one character, and what is put behind it."""
    text = _PRIVATE.sub("", text)
    behind: list[Fragment] = []
    for number, inversion in enumerate(inversions):
        character = chr(_MARKS + number)
        name = re.escape(inversion.name)
        text = re.sub(rf"(?<!\w)(?:embedding:)?{name}(?!\w)", character, text, flags=re.IGNORECASE)
        if inversion.place == place:
            behind.append(Fragment(character, inversion.weight))
    return text, behind


def split_marks(text: str, inversions: Sequence[Inversion]) -> list[str | Inversion]:
    if not inversions:
        return [text]
    pieces = re.split(f"({_PRIVATE.pattern})", text)
    return [inversions[ord(piece) - _MARKS] if _PRIVATE.fullmatch(piece) else piece for piece in pieces if piece]


def _rows(value: Any) -> Any:
    """(vectors, width), or None if it is no such thing."""
    if not isinstance(value, torch.Tensor) or value.ndim not in (1, 2) or not value.is_floating_point():
        return None
    rows = value.reshape(-1, value.shape[-1])
    return rows if 0 < len(rows) <= MAX_VECTORS else None
