from __future__ import annotations

import click

from meshgen.cli.config import loaded, source_of
from meshgen.cli.faults import BadHome
from meshgen.cli.verb import Call, verb
from meshgen.home import INCOMING_KEY_FILE


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
    from meshgen.node import NodeError, run_node

    try:
        run_node(settings, call.home, source)
    except NodeError as error:
        raise BadHome(str(error)) from None
