"""Settings written into a config file that people edit: its comments and its order stay, only the given keys change."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def with_settings(text: str, changes: Mapping[str, Any]) -> str:
    """The text with these values, by dotted keys. A key that is commented out is used where it stands, else added to its section.

    For files in the form of ``config.example.yaml``: sections at the margin, a line a key. Load the result before you use it.
    """
    lines = text.splitlines()
    for key, value in changes.items():
        section, _, name = key.partition(".")
        lines = _with_setting(lines, section, f"{name}: {json.dumps(value, ensure_ascii=False)}", name)
    return "\n".join(lines) + "\n"


def _with_setting(lines: list[str], section: str, setting: str, name: str) -> list[str]:
    start = next((place for place, line in enumerate(lines) if re.match(rf"{section}\s*:\s*(#.*)?$", line)), None)
    if start is None:
        return [*lines, "", f"{section}:", f"  {setting}"]
    end = next((place for place in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[place])), len(lines))
    for mark in ("", "# ?"):
        for place in range(start + 1, end):
            if found := re.match(rf"(\s+){mark}{re.escape(name)}\s*:", lines[place]):
                return [*lines[:place], found[1] + setting, *lines[_value_end(lines, place, found[1], end, bool(mark)) :]]
    return [*lines[: start + 1], f"{_indent(lines[start + 1 : end])}{setting}", *lines[start + 1 :]]


def _value_end(lines: list[str], place: int, indent: str, end: int, comment: bool) -> int:
    """Behind the lines of a value that goes on below its key."""
    after = place + 1
    while not comment and after < end and re.match(rf"{indent}(\s+\S|- )", lines[after]):
        after += 1
    return after


def _indent(lines: list[str]) -> str:
    """As the section's other keys have it."""
    found = (re.match(r"(\s+)[\w-]+\s*:", line) for line in lines)
    return next((match[1] for match in found if match), "  ")
