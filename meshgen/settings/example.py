"""A whole config file with every key explained, made from the model."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

from meshgen.settings.model import Group, Settings


def example(profile: str = "", active: bool = True) -> str:
    """A whole config file with every key explained. ``active`` False comments the keys out, so that the profile speaks."""
    return "\n".join(_example_lines(profile, "" if active else "# ")) + "\n"


def _example_lines(profile: str, mark: str) -> Iterator[str]:
    yield "# Settings of a meshgen node: every key with its default. Unknown keys are refused."
    yield "# Later ones win: profile < this file < environment (MESHGEN_WORKER__SLOTS=2) < command line."
    yield ""
    yield f"# {Settings.model_fields['profile'].description}."
    yield f"profile: {_yaml(profile)}"
    for section, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, Group):
            yield from ("", f"# {group.__doc__}.", f"{section}:")
            for name, key in group.model_fields.items():
                yield from _wrapped(f"{key.description}.{_bounds(key)}")
                yield f"  {mark}{name}: {_yaml(key.default)}"


def _wrapped(text: str) -> Iterator[str]:
    return iter(textwrap.wrap(text, 110, initial_indent="  # ", subsequent_indent="  # ", break_on_hyphens=False))


def _bounds(key: Any) -> str:
    if get_args(key.annotation) and not isinstance(get_args(key.annotation)[0], type) and isinstance(key.default, str):
        return f" One of: {', '.join(map(str, get_args(key.annotation)))}."
    found = {
        name: getattr(rule, name) for rule in key.metadata for name in ("ge", "gt", "le") if getattr(rule, name, None) is not None
    }
    if "le" not in found or isinstance(key.default, tuple):
        return ""
    low = f"more than {found['gt']}" if "gt" in found else f"{found.get('ge')}"
    return f" From {low} to {found['le']}."


def _yaml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str):
        return (
            value if re.fullmatch(r"[A-Za-z][\w.-]*", value) and value not in ("yes", "no", "on", "off", "null") else f'"{value}"'
        )
    return str(value).lower() if isinstance(value, bool) else str(value)
