"""What an owner refuses, as it stands in the settings: words, and regular expressions of the ``regex`` package.

Python's own ``re`` can't be stopped, and a careless pattern takes it longer than a lifetime; ``regex`` has a time limit.
"""

from __future__ import annotations

import re
from typing import Any

MAX_PATTERN_CHARS = 256
_WORD = re.compile(r"[^\W_]")


def check_word(text: str) -> str:
    """Unchanged. Raises ValueError with words for people."""
    if not _WORD.search(text):
        raise ValueError(f"{text!r} holds no letter or digit, and would fit every prompt or none")
    return text


def compile_pattern(text: str) -> Any:
    """A ``regex.Pattern``, blind to case. Raises ValueError with words for people."""
    import regex  # here, as few who read settings have patterns

    if not text or len(text) > MAX_PATTERN_CHARS:
        raise ValueError(f"a pattern has 1 to {MAX_PATTERN_CHARS} characters, not {len(text)}")
    try:
        return regex.compile(text, regex.IGNORECASE | regex.VERSION0, cache_pattern=False)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None


def check_pattern(text: str) -> str:
    """Unchanged. Raises ValueError with words for people."""
    compile_pattern(text)
    return text
