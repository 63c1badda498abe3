"""What every verb has in common: --home, --json, and how it shows its result."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from meshgen.cli.faults import BadHome
from meshgen.cli.screen import fold_last, screen_width
from meshgen.home import HomeError, home_dir, home_version

MAX_SENTENCE = 240


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a verb. With ``json``, stdout gets one JSON document and nothing else; messages go to stderr."""

    home: Path
    json: bool

    def say(self, text: str) -> None:
        click.echo(text, err=self.json)

    def result(self, document: Any, text: str = "") -> None:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False) if self.json else text)


class Verbs(click.Group):
    """Its --help folds what each verb is for; click's cuts it off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, command.get_short_help_str(MAX_SENTENCE)) for name, command in commands if command and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def verb(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives ``function`` a Call in front of its own options."""

    @click.option("--home", "home", type=click.Path(file_okay=False), help="The node's folder.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
    @functools.wraps(function)
    def called(home: str | None, as_json: bool, **given: Any) -> Any:
        home = home or click.get_current_context().find_root().params.get("home")
        call = Call(Path(home).expanduser().absolute() if home else home_dir(), as_json)
        _refuse_newer(call.home)
        return function(call, **given)

    return called


def _refuse_newer(home: Path) -> None:
    try:
        home_version(home)
    except HomeError as error:
        raise BadHome(str(error), code="home_version") from None


def kudos(mkudos: int) -> str:
    """1234 -> 1.234"""
    return f"{'-' if mkudos < 0 else ''}{abs(mkudos) // 1000}.{abs(mkudos) % 1000:03d}"


def count(number: int, one: str, many: str = "") -> str:
    """(2, "picture") -> 2 pictures"""
    return f"{number} {one if number == 1 else many or one + 's'}"


def plain(text: str) -> str:
    """A stranger wrote it: no control characters reach the terminal."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns, numbers to the right. Plain text; on a terminal that is too narrow the last column's words are folded."""
    cells = [list(heads)] + [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(_is_number(cell) for cell in column[1:]) and len(column) > 1 for column in zip(*cells, strict=True)]
    padded = [
        [cell.rjust(width) if left else cell.ljust(width) for cell, width, left in zip(line, widths, right, strict=True)]
        for line in cells
    ]
    lines = fold_last([("".join(f"{cell}  " for cell in before), last.rstrip()) for *before, last in padded], screen_width())
    return "\n".join([click.style(lines[0], bold=True), *lines[1:]])


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit() or not text
