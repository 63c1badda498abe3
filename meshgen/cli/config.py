"""Settings as the command line gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshgen.cli.faults import BadHome
from meshgen.home import CONFIG_FILE

if TYPE_CHECKING:
    from meshgen.settings import Settings


def settings_of(home: Path, config: str | None = None, profile: str | None = None, changes: Sequence[str] = ()) -> Settings:
    """``config`` None takes the home's own, if there is one. ``changes`` are ``section.key=value``. Raises Fault."""
    from meshgen.settings import SettingsError, load_settings

    own = home / CONFIG_FILE
    path = Path(config) if config else own if own.exists() else None
    try:
        return load_settings(path, profile, dict(map(_change, changes)))
    except SettingsError as error:
        raise BadHome(str(error), code="bad_settings") from None


def _change(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise click.BadParameter(f"{text!r} is not of the form section.key=value", param_hint="--set")
    return key.strip(), value.strip()
