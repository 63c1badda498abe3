"""What a prompt says beyond its words: ``(more)``, ``[less]``, ``(word:1.3)``. Brackets after a backslash are meant as such."""

from __future__ import annotations

import re
from dataclasses import dataclass

MORE = 1.1
"""What a pair of round brackets multiplies by; square ones divide."""
LIMIT = 5.0
DEPTH = 16
"""Of brackets in brackets; deeper ones are characters like others."""
_PARTS = re.compile(r"\\[()\[\]\\]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[()\[\]:\\]|[^()\[\]:\\]+")


@dataclass(slots=True)
class Fragment:
    """A piece of a prompt that has one weight."""

    text: str
    weight: float = 1.0

    def __repr__(self) -> str:
        return f"Fragment({len(self.text)} characters, {self.weight:g})"  # a prompt stays out of logs


def fragments(prompt: str) -> list[Fragment]:
    """In order; neighbours of one weight are one. A bracket without its partner is a character like others."""
    found: list[Fragment] = []
    opened: list[int] = []  # the open brackets' places in found
    for match in _PARTS.finditer(prompt):
        part, factor = match[0], match[1]
        partner = found[opened[-1]].text if opened else ""
        if part in "([" and len(opened) < DEPTH:
            opened.append(len(found))
            found.append(Fragment(part))
        elif factor is not None and partner == "(":
            _close(found, opened.pop(), float(factor))
        elif (partner, part) in (("(", ")"), ("[", "]")):
            _close(found, opened.pop(), MORE if part == ")" else 1 / MORE)
        else:
            found.append(Fragment(part[1:] if len(part) == 2 and part[0] == "\\" else part))
    return _merged(found)


def _close(found: list[Fragment], start: int, factor: float) -> None:
    found[start].text = ""
    for fragment in found[start + 1 :]:
        fragment.weight = max(-LIMIT, min(fragment.weight * factor, LIMIT))


def _merged(found: list[Fragment]) -> list[Fragment]:
    merged: list[Fragment] = []
    for fragment in found:
        if merged and merged[-1].weight == fragment.weight:
            merged[-1].text += fragment.text
        elif fragment.text:
            merged.append(fragment)
    return merged
