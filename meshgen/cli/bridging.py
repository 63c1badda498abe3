"""`meshgen worker import`: shows what a bridgeData.yaml becomes here, and writes it into config.yaml if its owner agrees."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from meshgen.cli.agreeing import at_terminal
from meshgen.cli.bridge import Fate, Line, settings_of_lines, translate
from meshgen.cli.config import settings_of
from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.verb import Call, count, table
from meshgen.home import CONFIG_FILE
from meshgen.settings import SettingsError, Source

MAX_BYTES = 1024 * 1024
MAX_KEYS = 500
ENVIRONMENT = "AIWORKER_"
_HEADS: dict[Fate, str] = {"taken": "Taken over", "decide": "Needs your decision", "none": "No counterpart here"}


def take_over(call: Call, file: Path, *, yes: bool, replace: bool) -> None:
    """Raises Fault."""
    lines = translate(_read(file))
    config = call.home / CONFIG_FILE
    found, said = settings_of_lines(lines), _said(config)
    kept = {key: said[key] for key in found if not replace and key in said and said[key] != found[key]}
    changes = {key: value for key, value in found.items() if key not in kept and said.get(key) != value}
    call.say(_report(lines, found, kept))
    written = bool(changes) and (yes or (not call.json and _agreed(config, len(changes))))
    if written:
        _write(call.home, changes)
    document = {"lines": [_row(line) for line in lines], "settings": found, "kept": kept, "written": changes if written else {}}
    call.result(document | {"config": str(config)}, _ending(config, found, changes, written))


def _read(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise Fault(f"{file} is larger than {MAX_BYTES} bytes: that is no bridgeData.yaml", code="bad_file")
        values = yaml.safe_load(data.decode("utf-8"))
    except OSError as error:
        raise Fault(f"{file} can't be read: {error.strerror}", code="bad_file") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise Fault(
            f"{file}{where}: is not valid YAML", "an older bridgeData.py has to be made YAML first", code="bad_file"
        ) from None
    if not isinstance(values, dict) or len(values) > MAX_KEYS:
        raise Fault(f"{file} holds no settings such as `max_power: 8`", code="bad_file")
    return values


def _said(config: Path) -> dict[str, Any]:
    """What the config file itself says, by dotted keys."""
    if not config.exists():
        return {}
    settings_of(config.parent)  # a file that can't be used is not written to
    values = yaml.safe_load(config.read_text("utf-8")) or {}
    sections = {section: given for section, given in values.items() if isinstance(given, dict)}
    return {f"{section}.{key}": value for section, given in sections.items() for key, value in given.items()}


def _agreed(config: Path, number: int) -> bool:
    return config.exists() and at_terminal() and click.confirm(f"Write {count(number, 'setting')} into {config}?", default=False)


def _write(home: Path, changes: Mapping[str, Any]) -> None:
    """The whole file or nothing, and only if it then says what was meant."""
    config = home / CONFIG_FILE
    if not config.exists():
        raise BadHome(
            f"there is no {config} to write into", "make it with `meshgen init --profile gpu-server`, then import again"
        )
    kept = config.read_text("utf-8")
    try:
        Source(config).write(changes)
    except SettingsError as error:
        raise BadHome(str(error)) from None
    config.with_name(f"{CONFIG_FILE}.before-import").write_text(kept, "utf-8")


# -- what is shown


def _report(lines: list[Line], found: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    parts = [f"{head}:\n{_table(lines, fate)}" for fate, head in _HEADS.items() if any(line.fate == fate for line in lines)]
    if kept:
        rows = [(key, _short(value), _short(found[key])) for key, value in kept.items()]
        parts.append(f"Yours stays (--replace takes theirs):\n{table(('SETTING', 'YOURS', 'THEIRS'), rows)}")
    parts += [_environment(os.environ)]
    return "\n\n".join(parts) + "\n"


def _table(lines: list[Line], fate: Fate) -> str:
    chosen = [line for line in lines if line.fate == fate]
    if fate != "taken":
        return table(("KEY", "WHY"), [(line.key, line.text) for line in chosen])
    rows = [
        (line.key, ", ".join(f"{key}: {_short(value)}" for key, value in line.settings.items()), line.text) for line in chosen
    ]
    return table(("KEY", "SETTING", "NOTE"), rows)


def _environment(environ: Iterable[str]) -> str:
    named = [name for name in environ if name.startswith(ENVIRONMENT)]
    here = f" Set in this shell: {', '.join(sorted(named)[:20])}." if named else ""
    return (
        f"A worker's keys may also stand in variables {ENVIRONMENT}*; these are not read. Here they are MESHGEN_WORKER__*.{here}"
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _row(line: Line) -> dict[str, Any]:
    return {"key": line.key, "fate": line.fate, "text": line.text, "settings": dict(line.settings)}


def _ending(config: Path, found: Mapping[str, Any], changes: Mapping[str, Any], written: bool) -> str:
    if written:
        return f"{count(len(changes), 'setting')} written into {config}; the old one is {config.name}.before-import\n" + (
            "The node takes them up when it starts again; worker must be among node.roles."
        )
    if changes:
        return "nothing was written; --yes writes it without asking"
    return "nothing to write: your config says all of it already" if found else "nothing to write: nothing could be taken over"
