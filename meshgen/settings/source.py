"""Where a node's settings came from, so that they can be read again, and written into the file that people edit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copymode
from typing import Any

import yaml
from pydantic import BaseModel

from meshgen.settings.load import SettingsError, layer_of, load_settings
from meshgen.settings.model import Settings
from meshgen.settings.text import with_settings

_LIVE = {
    "node": "alias follow block allow only_allowed",
    "requester": "default_model max_mkudos bid_wait_s offer_lifetime_s part_timeout_factor part_timeout_min_s private share",
    "worker": "models models_to_skip max_pixels max_steps max_count max_tokens max_queue price_permille max_debt_mkudos "
    "friends only_friends declines refuse_words refuse_patterns hours max_temperature_c max_power_w "
    "stranger_pictures_per_minute",
    "limits": "open_jobs kept_jobs kept_mib",
}
LIVE = frozenset(f"{section}.{name}" for section, names in _LIVE.items() for name in names.split())
"""What a running node follows; all else needs a new start."""


def following(running: Settings, changed: Settings) -> Settings:
    """Those of a running node with what it can follow of the changed ones."""
    groups = {}
    for section, names in _LIVE.items():
        old, new, live = getattr(running, section), getattr(changed, section), set(names.split())
        group = old.model_copy(update={name: getattr(new, name) for name in live})
        said = (old.model_fields_set - live) | (new.model_fields_set & live)
        group.model_fields_set.intersection_update(said)  # what nobody said stays the charter's to fill
        group.model_fields_set.update(said)
        groups[section] = group
    return running.model_copy(update=groups)


@dataclass(frozen=True)
class Source:
    """The layers above the defaults: a profile, a config file (which may not be there yet), the environment, the command line."""

    file: Path
    profile: str | None = None
    changes: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> Settings:
        """Raises SettingsError."""
        return self._load(self.file)

    def _load(self, file: Path) -> Settings:
        return load_settings(file if file.exists() else None, self.profile, self.changes)

    def decided(self, key: str) -> str:
        """What overrules the file for this key: environment, command line, or nothing."""
        return layer_of(key, self.changes)

    def write(self, changes: Mapping[str, Any]) -> Settings:
        """These values by dotted keys into the file, whose comments and order stay. All or none. Raises
        SettingsError, OSError."""
        before = self.file.read_text("utf-8") if self.file.exists() else ""
        text = with_settings(before, changes)
        beside = self.file.with_name(f"{self.file.name}.{os.getpid()}.new")
        try:
            beside.write_text(text, "utf-8")
            if before:
                copymode(self.file, beside)
            settings = self._load(beside)
            if {key: _value(text, key) for key in changes} != dict(changes):
                raise SettingsError(f"{self.file} is laid out in a way that this can't write into: set the keys by hand")
            beside.replace(self.file)
        except UnicodeEncodeError:
            raise SettingsError("a text holds half a character, which no file can hold") from None
        except SettingsError as error:
            raise SettingsError(str(error).replace(str(beside), str(self.file))) from None
        finally:
            beside.unlink(missing_ok=True)
        return settings


def _value(text: str, key: str) -> Any:
    section, _, name = key.partition(".")
    return (yaml.safe_load(text).get(section) or {}).get(name)


def dotted(settings: Settings) -> dict[str, Any]:
    """Every value by its dotted key, fit for JSON."""
    groups = ((section, group) for section, group in settings if isinstance(group, BaseModel))
    return {f"{section}.{name}": value for section, group in groups for name, value in group.model_dump(mode="json").items()}
