"""Settings from their layers, and what is wrong with them in words that say how to mend it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from meshgen.settings.model import Settings
from meshgen.settings.profiles import profile_names, profiles_dir

ENV_PREFIX = "MESHGEN_"
MAX_FAULTS_SHOWN = 5


class SettingsError(Exception):
    """Settings can't be used. The text names file, key, fault and cure, a line each; it can be shown to a person as it is."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """One source of values, and how to call a key of it when it is wrong."""

    source: str
    values: Mapping[str, Any]

    def holds(self, keys: tuple[str, ...]) -> bool:
        values: Any = self.values
        for key in keys:
            if not isinstance(values, Mapping) or key not in values:
                return False
            values = values[key]
        return True


def load_settings(path: Path | None = None, profile: str | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from all layers. ``overrides`` is nested as the file is, or uses dotted keys (``{"worker.slots": 2}``).

    ``profile`` wins over the config file's own ``profile`` key. Raises SettingsError.
    """
    layers = [_file_layer(path)] if path else []
    layers += [_environment(os.environ), _Layer("command line", _nested(overrides or {}))]
    name = profile or next((layer.values["profile"] for layer in reversed(layers) if layer.values.get("profile")), "")
    if name:
        layers.insert(0, _profile_layer(name))
    values = _merged(layers) | {"profile": name}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explanations(layers, error.errors()))) from None


def layer_of(key: str, overrides: Mapping[str, Any]) -> str:
    """Which layer above the config file sets this dotted key: "command line", "environment", or "" for none."""
    for layer in (_Layer("command line", _nested(overrides)), _environment(os.environ)):
        if layer.holds(tuple(key.split(".", 1))):
            return layer.source
    return ""


def _profile_layer(name: object) -> _Layer:
    names = profile_names()
    if name not in names:
        raise SettingsError(f"there is no profile {name!r}{_nearest(str(name), names)}")
    return _file_layer(profiles_dir() / f"{name}.yaml")


_CONSTRUCTORS_RAISE = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""PyYAML lets these through, for 2001-13-45, !!timestamp x, !!bool x or what nests a thousand deep."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would silently keep the last, and half of a config would vanish."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a word, not a list or a section", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands here a second time", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _file_layer(path: Path) -> _Layer:
    try:
        values = yaml.load(path.read_text("utf-8"), _Loader)  # a SafeLoader
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    except _CONSTRUCTORS_RAISE as error:
        raise SettingsError(f"{path}: holds a value that YAML can't read ({error})") from None
    if not isinstance(values or {}, dict):
        raise SettingsError(f"{path}: holds {_yaml_type(values)} where sections such as `worker:` are expected")
    return _Layer(str(path), {str(key): value for key, value in (values or {}).items()})


def _environment(environ: Mapping[str, str]) -> _Layer:
    pairs = {
        key.removeprefix(ENV_PREFIX).lower().replace("__", ".", 1): value
        for key, value in environ.items()
        if key.startswith(ENV_PREFIX) and "__" in key
    }
    return _Layer("environment", _nested(pairs))


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in flat.items():
        section, dot, name = key.partition(".")
        if dot:
            values.setdefault(section, {})[name] = value
        elif isinstance(value, Mapping):
            values.setdefault(section, {}).update(value)
        else:
            values[section] = value
    return values


def _merged(layers: list[_Layer]) -> dict[str, Any]:
    """Sections are merged key by key, lists replaced as a whole. A section whose keys are all commented out is empty."""
    values: dict[str, Any] = {}
    for layer in layers:
        for section, given in layer.values.items():
            before = values.get(section)
            if isinstance(given, Mapping) and isinstance(before, Mapping):
                values[section] = {**before, **given}
            elif given is not None:
                values[section] = given
    return values


def _explanations(layers: list[_Layer], faults: Sequence[Any]) -> list[str]:
    """The first fault of each key: a bad item makes its list too short as well."""
    firsts = {tuple(part for part in fault["loc"] if isinstance(part, str)): fault for fault in reversed(faults)}
    return [_explain(layers, keys, fault) for keys, fault in reversed(firsts.items())][:MAX_FAULTS_SHOWN]


def _explain(layers: list[_Layer], keys: tuple[str, ...], fault: Any) -> str:
    source = next((layer.source for layer in reversed(layers) if layer.holds(keys)), "settings")
    name = f"{ENV_PREFIX}{'__'.join(keys).upper()}" if source == "environment" else ".".join(keys)
    if fault["type"] == "extra_forbidden":
        return f"{source}: {name}: there is no such key{_nearest(keys[-1], _known_keys(keys[:-1]))}"
    if fault["type"] == "model_type":
        return f"{source}: {name}: is a section; its keys belong below it, indented"
    message = str(fault.get("ctx", {}).get("error") or fault["msg"]).replace("Input should", "should")
    return f"{source}: {name}: {message} (it is {_shown(fault['input'])})"


def _known_keys(section: tuple[str, ...]) -> list[str]:
    if not section:
        return list(Settings.model_fields)
    group = Settings.model_fields[section[0]].annotation
    return list(group.model_fields) if isinstance(group, type) and issubclass(group, BaseModel) else []


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else (f"; there are: {', '.join(known)}" if known else "")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _yaml_type(value: object) -> str:
    return "a list" if isinstance(value, list) else "a single value"
