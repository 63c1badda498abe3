from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from meshgen.cli.client import Api
from meshgen.cli.verb import Call, Verbs, verb
from meshgen.cli.working import show_reasons


@click.group(cls=Verbs, invoke_without_command=True)
@verb
def worker(call: Call) -> None:
    """Whether this node takes work, and by which rules; `import` takes over an AI Horde worker's settings."""
    if click.get_current_context().invoked_subcommand is None:
        found = Api.of(call.home).get("/v1/worker")
        call.result(found, _text(found))


@worker.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--replace", is_flag=True, help="Also what your config already says otherwise.")
@verb
def import_bridge(call: Call, file: str, yes: bool, replace: bool) -> None:
    """Take over the settings of an AI Horde worker's bridgeData.yaml, as far as they have a counterpart."""
    from meshgen.cli.bridging import take_over

    take_over(call, Path(file), yes=yes, replace=replace)


def _text(found: dict[str, Any]) -> str:
    rules = found["rules"]
    lines = [
        ("worker", show_reasons(found)),
        ("serves", ", ".join(found["models"]) or "nothing"),
        ("asked for", ", ".join(f"{row['model']} by {row['requesters']}" for row in found["wanted"]) or "nothing heard yet"),
        *(("trouble", trouble) for trouble in found["troubles"]),
        ("sensors", _sensors(found["sensors"])),
        ("refused", ", ".join(f"{number} by {rule}" for rule, number in found["refused"].items()) or "no prompt"),
        *(("note", note) for note in found["notes"]),
        *((f"  {key}", _shown(key, value)) for key, value in rules.items()),
    ]
    return "\n".join(f"{click.style(f'{name:20}', bold=True)} {value}" for name, value in lines)


def _sensors(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not watched: no ceiling is set"
    readings = [(found["temperature_c"], "degrees Celsius"), (found["power_w"], "watts")]
    return found["fault"] or ", ".join(f"{value:.0f} {unit}" for value, unit in readings if value is not None) or "nothing tells"


_OPEN = {"hours": "at any hour", "max_temperature_c": "no ceiling", "max_power_w": "no ceiling", "only_friends": "no"}
"""What a rule that is not set means."""


def _shown(key: str, value: Any) -> str:
    if not value and key in _OPEN:
        return _OPEN[key]
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else "yes" if value is True else str(value)
