"""A whole config file with every key explained, made from the model."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Iterator
from typing import Any, get_args

from meshgen.settings.model import Group, Settings

_PLAIN = re.compile(r"(?!(?:yes|no|on|off|y|n|true|false|null)$)[a-z][\w.-]*", re.IGNORECASE)


def example(settings: Settings | None = None, active: Collection[str] | None = None) -> str:
    """A whole config file with these settings' values. With ``active`` (dotted keys) all others are commented out: the profile
    speaks for them, and they show what it says."""
    return "\n".join(_example_lines(settings or Settings(), active)) + "\n"


def _example_lines(settings: Settings, active: Collection[str] | None) -> Iterator[str]:
    yield "# Settings of a meshgen node: every key with its " + (
        "default." if active is None else "value under this profile; uncomment to change."
    )
    yield "# Later ones win: profile < this file < environment (MESHGEN_WORKER__SLOTS=2) < command line."
    yield "# Unknown keys are refused."
    yield ""
    yield f"# {Settings.model_fields['profile'].description}."
    yield f"profile: {_yaml(settings.profile)}"
    for section, group in settings:
        if isinstance(group, Group):
            yield from ("", f"# {group.__doc__}.", f"{section}:")
            for name, key in type(group).model_fields.items():
                yield from _wrapped(f"{key.description}.{_bounds(key)}")
                mark = "" if active is None or f"{section}.{name}" in active else "# "
                yield f"  {mark}{name}: {_yaml(getattr(group, name))}"


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
    """One line of YAML: plain words as they are, other texts and lists as JSON, which YAML reads too."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
