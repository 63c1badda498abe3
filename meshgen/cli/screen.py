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


def folded(text: str, indent: int) -> str:
    """``text`` begins in column ``indent``, and so do its other lines. Words stay whole, however long."""
    width = screen_width()
    room = width - indent if width - indent >= NARROW else 0
    lines = [line for whole in text.split("\n") for line in (wrapped(whole, room) if room else [whole])]
    return f"\n{'':{indent}}".join(lines)


def fold_last(before: Sequence[str], last: str, width: int) -> str:
    """A table's line whose last cell is folded, beside the others or below them."""
    begun = "  ".join(before)
    whole = f"{begun}  {last}".rstrip() if before else last
    if not width or len(whole) <= width or " " not in last:
        return whole
    room = width - len(begun) - 2
    if room >= NARROW:
        return f"{begun}  " + f"\n{'':{len(begun) + 2}}".join(wrapped(last, room))
    return "\n".join([begun.rstrip(), *(f"{'':{BELOW}}{line}" for line in wrapped(last, width - BELOW))])


def wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]
