"""Settings as the command line gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshgen.cli.faults import BadHome, Fault
from meshgen.home import CONFIG_FILE

if TYPE_CHECKING:
    from meshgen.settings import Settings, Source


def settings_of(home: Path, config: str | None = None, profile: str | None = None, changes: Sequence[str] = ()) -> Settings:
    """``config`` None takes the home's own, if there is one. ``changes`` are ``section.key=value``. Raises Fault."""
    return loaded(source_of(home, config, profile, changes))


def settings_in_force(home: Path) -> Settings:
    """Those of the running node, which may have got some on its command line; else the home's. Raises Fault."""
    from meshgen.cli.client import Api

    try:
        found = Api.of(home).get("/v1/settings")["settings"]
    except Fault:  # it does not run, was started without files, or theirs are damaged by now
        return settings_of(home)
    from meshgen.settings import Settings, dotted, load_settings

    defaults = dotted(Settings())  # what is as by default counts as not said, for the charter to fill
    return load_settings(None, None, {key: value for key, value in found.items() if value != defaults.get(key)})


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
