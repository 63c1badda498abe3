"""How far something long has come: a line on stderr that is written over, if that is a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import click

EVERY_S = 0.2


class Progress:
    """``total`` 0 is not known. Nothing is shown of what is done within a moment."""

    def __init__(self, what: str, total: int = 0, unit: str = "") -> None:
        self._what, self._total, self._unit = what, total, unit
        self._due = time.monotonic() + EVERY_S
        self._shown = False
        self._on = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._shown:
            click.echo("\r\033[K", err=True, nl=False)

    def at(self, done: int) -> None:
        if not self._on or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY_S
        self._shown = True
        far = f"{100 * done // self._total} %" if self._total else f"{done:,}{self._unit}"
        click.echo(f"\r\033[K{self._what} {far}", err=True, nl=False)
