from __future__ import annotations

from typing import Any

import click

from meshgen.cli.client import Api
from meshgen.cli.model_views import cut
from meshgen.cli.verb import Call, table, verb

MODELS_WIDTH = 24


@click.command()
@verb
def peers(call: Call) -> None:
    """Who else is in the mesh."""
    found = Api.of(call.home).get("/v1/peers")
    rows = found["peers"]
    text = "no other peer is known yet; `meshgen doctor` checks why" if not rows else table(_HEADS, map(_row, rows))
    call.result(found, text)


_HEADS = ("ALIAS", "ROLES", "DEVICE", "MODELS", "QUEUED", "LINK", "PEER ID")


def _row(peer: dict[str, Any]) -> tuple[str, ...]:
    models = peer.get("models") or []
    shown = cut(", ".join(models), MODELS_WIDTH)
    link = "relayed" if peer.get("relayed") else "direct" if peer.get("connected") else "-"
    queued = str(peer.get("queued", 0)) if models else "-"
    return (
        peer.get("alias") or "-",
        ",".join(peer.get("roles") or []) or "-",
        peer.get("device_name") or "-",
        shown or "-",
        queued,
        link,
        peer["peer_id"],
    )
