"""Text folded to fit a terminal. In a pipe lines stay whole, for whatever reads them."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

NARROW = 24
"""A column of less is no place for words: they go below."""
BELOW = 4


def screen_width() -> int:
    """Columns of the terminal; 0 if standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def screen_size() -> tuple[int, int]:
    """Columns and rows of the terminal; zeros if standard output is none."""
    size = shutil.get_terminal_size()
    return (size.columns, size.lines) if sys.stdout.isatty() else (0, 0)


def folded(text: str, indent: int) -> str:
    """``text`` begins in column ``indent``, and so do its other lines. Words stay whole, however long."""
    width = screen_width()
    room = width - indent if width - indent >= NARROW else 0
    lines = [line for whole in text.split("\n") for line in (wrapped(whole, room) if room else [whole])]
    return f"\n{'':{indent}}".join(lines)


def fold_last(rows: Sequence[tuple[str, str]], width: int) -> list[str]:
    """A table's lines, each (all cells but the last, the last). Where they are too long, the last cells are folded beside the
    others, or all of them go below."""
    whole = [f"{before}{last}".rstrip() for before, last in rows]
    if not width or max(map(len, whole)) <= width:
        return whole
    begin = max(len(before) for before, _ in rows)
    if width - begin >= NARROW:
        return [
            f"\n{'':{begin}}".join([f"{before}{first}".rstrip(), *rest]) for before, (first, *rest) in _cut(rows, width - begin)
        ]
    return [
        "\n".join([before.rstrip(), *(f"{'':{BELOW}}{line}" for line in cut if line)])
        for before, cut in _cut(rows, width - BELOW)
    ]


def _cut(rows: Sequence[tuple[str, str]], width: int) -> list[tuple[str, list[str]]]:
    return [(before, wrapped(last, width)) for before, last in rows]


def wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]
