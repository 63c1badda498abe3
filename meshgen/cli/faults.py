"""Exit codes, and errors as people and scripts see them."""

from __future__ import annotations

import json
from typing import IO, Any

import click

FAULT = 1
INTERRUPTED = 130


class Fault(click.ClickException):
    """Ends the program: one line says what is wrong, another how to mend it."""

    exit_code = FAULT

    def __init__(self, message: str, hint: str = "", *, code: str = "") -> None:
        super().__init__(message)
        self.hint, self.code = hint, code

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(self.message, file=file, err=file is None)
        if self.hint:
            click.echo(self.hint, file=file, err=file is None)


class Interrupted(Fault):
    """By Ctrl-C, where the verb itself has nothing to say about it."""

    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__("interrupted", code="interrupted")


def document(error: click.ClickException) -> str:
    """What --json shows of it: wrong usage too."""
    if isinstance(error, Fault):
        message, code, hint = error.message, error.code, error.hint
    else:
        ctx = error.ctx if isinstance(error, click.UsageError) else None
        message, code, hint = error.format_message(), "usage", f"see `{ctx.command_path} --help`" if ctx else ""
    told = {"message": message} | ({"code": code} if code else {}) | ({"hint": hint} if hint else {})
    return json.dumps({"error": told})


class NotRunning(Fault):
    exit_code = 3

    def __init__(self, message: str, hint: str = "start it with `meshgen run`") -> None:
        super().__init__(message, hint, code="not_running")


class Silent(NotRunning):
    """It runs, and does not answer."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.code = "no_answer"


class BadHome(Fault):
    """The settings, the key or the folder."""

    exit_code = 4


class Cancelled(Fault):
    exit_code = INTERRUPTED

    def __init__(self, message: str) -> None:
        super().__init__(message, code="cancelled")
