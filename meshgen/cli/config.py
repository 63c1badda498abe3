"""Settings as the command line gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshgen.cli.faults import BadHome
from meshgen.home import CONFIG_FILE

if TYPE_CHECKING:
    from meshgen.settings import Settings, Source


def settings_of(home: Path, config: str | None = None, profile: str | None = None, changes: Sequence[str] = ()) -> Settings:
    """``config`` None takes the home's own, if there is one. ``changes`` are ``section.key=value``. Raises Fault."""
    return loaded(source_of(home, config, profile, changes))


def source_of(home: Path, config: str | None = None, profile: str | None = None, changes: Sequence[str] = ()) -> Source:
    """Raises Fault."""
    from meshgen.settings import Source

    if config and not Path(config).exists():
        raise BadHome(f"there is no file {config}", code="bad_settings")
    return Source(Path(config) if config else home / CONFIG_FILE, profile, changes_of(changes))


def loaded(source: Source) -> Settings:
    """Raises Fault."""
    from meshgen.settings import SettingsError

    try:
        return source.load()
    except SettingsError as error:
        raise BadHome(str(error), code="bad_settings") from None


def changes_of(texts: Sequence[str]) -> dict[str, str]:
    """What --set gives, by dotted keys. Raises BadParameter."""
    return dict(map(_change, texts))


def _change(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise click.BadParameter(f"{text!r} is not of the form section.key=value", param_hint="--set")
    return key.strip(), value.strip()
