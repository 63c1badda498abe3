from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from meshgen.cli.config import changes_of
from meshgen.cli.faults import BadHome
from meshgen.cli.verb import Call, verb
from meshgen.home import CONFIG_FILE


@click.command()
@click.option("--profile", default="laptop", show_default=True, help="What the node is for: laptop, gpu-server, hub, observer.")
@click.option("--alias", default="", help="A name that others see beside its peer id.")
@click.option(
    "--bootstrap",
    multiple=True,
    metavar="ADDRESS",
    help="A node to join through, e.g. /ip4/192.0.2.7/tcp/4711/p2p/12D3... (repeatable)",
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Any setting, e.g. worker.slots=2 (repeatable).")
@verb
def init(call: Call, profile: str, alias: str, bootstrap: tuple[str, ...], changes: tuple[str, ...]) -> None:
    """Make this machine's node: home, key and settings."""
    from meshgen.cli.keyfiles import begin_key

    config = call.home / CONFIG_FILE
    if config.exists():
        raise BadHome(f"{config} exists already", "edit it, or move it away to begin anew; the key stays", code="exists")
    text = config_text(profile, {"node.alias": alias, "mesh.bootstrap": bootstrap} | changes_of(changes))
    identity = begin_key(call.home)
    try:
        config.write_text(text, "utf-8")
    except OSError as error:
        raise BadHome(f"{config} can't be written: {error.strerror}") from None
    found = {"peer_id": identity.peer_id, "home": str(call.home), "config": str(config), "profile": profile}
    call.result(found, _text(identity.peer_id, config, profile, bool(bootstrap)))


def config_text(profile: str, given: dict[str, Any]) -> str:
    """A new home's config.yaml. Raises BadHome."""
    from meshgen.settings import SettingsError, load_settings
    from meshgen.settings.example import example

    chosen = {key: value for key, value in given.items() if value}
    try:
        return example(load_settings(None, profile, chosen), chosen)
    except SettingsError as error:
        raise BadHome(str(error), code="bad_settings") from None


def _text(peer_id: str, config: Path, profile: str, joins: bool) -> str:
    join = (
        ""
        if joins or profile == "hub"
        else "\n- Join a mesh:   meshgen join, with the line that a member's `meshgen mesh invite` prints"
    )
    return f"""This node is {peer_id}
Its key and log are in {config.parent}. Its first run makes recovery/ there: move that folder
to another place. The key in it takes over if this one is lost or stolen, and nobody else can restore either.

What next:
- Settings are in {config}, each explained; profile: {profile}.{join}
- Start it:       meshgen run
- Check it:       meshgen doctor
- Ask for one:    meshgen generate "a lighthouse at dawn"
- Or first see a whole mesh on this machine: meshgen demo"""
