from __future__ import annotations

import gc
import logging
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from meshgen.cli.config import loaded, source_of
from meshgen.cli.faults import BadHome
from meshgen.cli.verb import Call, verb
from meshgen.gateway.runfile import starting
from meshgen.home import INCOMING_KEY_FILE

if TYPE_CHECKING:
    from meshgen.settings import Settings, Source


class Logged(BadHome):
    """For whoever reads the node's log by a program: there it is a line like all others."""

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002
        logging.getLogger("meshgen").critical("%s", self.message)


@click.command()
@click.option("--profile", default=None, help="A ready-made profile, instead of the one in the config.")
@click.option("--config", type=click.Path(dir_okay=False), help="A config file (default: config.yaml in the home).")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="One setting for this run, e.g. worker.slots=2 (repeatable)."
)
@verb
def run(call: Call, profile: str | None, config: str | None, changes: tuple[str, ...]) -> None:
    """Run the node until Ctrl-C."""
    if (call.home / INCOMING_KEY_FILE).exists():
        raise BadHome("a change of this node's key was cut off", "`meshgen account rotate` (or recover) goes on from there")
    source = source_of(call.home, config, profile, changes)
    settings = loaded(source)
    _make(call.home)
    with starting(call.home):
        _run(settings, call.home, source)


def _run(settings: Settings, home: Path, source: Source) -> None:
    """Raises BadHome."""
    gc.disable()  # what modules are made of stays; looking for garbage in it takes a fifth of the start
    from meshgen.node import NodeError, run_node

    gc.freeze()
    gc.enable()
    try:
        run_node(settings, home, source)
    except NodeError as error:
        said = Logged if settings.node.log_format == "json" else BadHome
        raise said(str(error)) from None


def _make(home: Path) -> None:
    """Raises BadHome."""
    hint = "give a folder that you may write to with --home"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadHome(f"the home {home} can't be made: {error.strerror}", hint) from None
    if not os.access(home, os.W_OK | os.X_OK):
        raise BadHome(f"the home {home} can't be written to", hint)
