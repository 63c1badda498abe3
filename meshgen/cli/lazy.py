"""The root command: verbs are imported when called, and whatever goes wrong ends in a line or two and an exit code."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from collections.abc import Mapping
from itertools import takewhile
from typing import Any, NoReturn

import click

from meshgen import __version__
from meshgen.cli.faults import Fault, Interrupted, document

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What may befall any file that is written, and is no fault of this program."""


class Meshgen(click.Group):
    """``verbs`` maps each verb to its line in --help."""

    def __init__(self, *, verbs: Mapping[str, str], **attrs: Any) -> None:
        super().__init__(
            **attrs, params=_options(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
        )
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._verbs:
            return None
        command = getattr(importlib.import_module(f"meshgen.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        close = difflib.get_close_matches(args[0], self._verbs, n=1)
        if args[0] not in self._verbs and close and not ctx.resilient_parsing:
            raise click.UsageError(f"there is no verb {args[0]!r}; did you mean {close[0]!r}?", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(self._verbs.items()))

    def main(self, *args: Any, **attrs: Any) -> Any:
        """Like click's, but with this program's exit codes, and no traceback without --debug."""
        given = args[0] if args else attrs.get("args")
        words = list(takewhile("--".__ne__, sys.argv[1:] if given is None else given))
        debug, as_json = "--debug" in words, "--json" in words
        plain = {"color": False} if os.environ.get("NO_COLOR") else {}
        try:
            code = super().main(*args, **attrs | plain | {"standalone_mode": False})
        except click.ClickException as error:
            _end(error, as_json)
        except (click.Abort, KeyboardInterrupt):
            _end(Interrupted(), as_json)
        except Exception as error:
            if debug:
                raise
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                _end(Fault(f"{error.filename or 'a file'} can't be written: {error.strerror}"), as_json)
            hint = "Please report it; --debug after `meshgen` shows where."
            _end(Fault(f"meshgen stumbled: {type(error).__name__}: {error}", hint), as_json)
        sys.exit(code if isinstance(code, int) else 0)


def _end(error: click.ClickException, as_json: bool) -> NoReturn:
    """Whoever asked for JSON gets it on stdout, whatever went wrong."""
    if as_json:
        click.echo(document(error))
    else:
        error.show()
    sys.exit(error.exit_code)


def _options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--home"], type=click.Path(file_okay=False), help="The node's folder (default: MESHGEN_HOME, else the platform's)."
        ),
        click.Option(["--debug"], is_flag=True, help="Show where in the program a fault happened."),
        click.version_option(__version__, message="meshgen %(version)s")(click.Command("version")).params[0],
    ]
