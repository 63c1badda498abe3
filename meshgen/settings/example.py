"""A whole config file with every key explained, made from the model."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from meshgen.settings.model import Group, Settings

_PLAIN = re.compile(r"(?!(?:yes|no|on|off|y|n|true|false|null)$)[a-z][\w.-]*", re.IGNORECASE)


def example(profile: str = "", chosen: Mapping[str, Any] | None = None) -> str:
    """A whole config file. With ``chosen`` (dotted keys) only those are active, and the profile speaks for all others."""
    return "\n".join(_example_lines(profile, chosen)) + "\n"


def _example_lines(profile: str, chosen: Mapping[str, Any] | None) -> Iterator[str]:
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
                mark = "" if chosen is None or f"{section}.{name}" in chosen else "# "
                value = (chosen or {}).get(f"{section}.{name}", key.default)
                yield f"  {mark}{name}: {_yaml(value)}"


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
