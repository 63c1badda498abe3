"""The name that a misspelt one was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """Whatever the case; "" if nothing comes close."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, n=1)
    return names[close[0]] if close else ""


def meant(word: str, known: Iterable[str]) -> str:
    """``did you mean 'tiny'?``, or nothing."""
    found = nearest(word, known)
    return f"did you mean {found!r}?" if found else ""
