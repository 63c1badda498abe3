from __future__ import annotations

from typing import Any

import click

from meshgen.cli.client import Api
from meshgen.cli.credit_advice import advise
from meshgen.cli.model_views import cut
from meshgen.cli.peers_advice import advice
from meshgen.cli.peers_lists import allow, block, blocked, follow, followed, unallow, unblock, unfollow
from meshgen.cli.verb import Call, Verbs, table, verb

MODELS_WIDTH = 24


@click.group(cls=Verbs, invoke_without_command=True)
@verb
def peers(call: Call) -> None:
    """Who else is in the mesh; whom this node blocks, allows and follows."""
    if click.get_current_context().invoked_subcommand:
        return
    found = Api.of(call.home).get("/v1/peers")
    rows = found["peers"]
    text = "no other peer is known yet; `meshgen doctor` checks why" if not rows else table(_HEADS, map(_row, rows))
    call.result(found, text)


for command in (block, unblock, blocked, allow, unallow, follow, unfollow, followed, advise, advice):
    peers.add_command(command)

_HEADS = ("ALIAS", "ROLES", "DEVICE", "MODELS", "QUEUED", "LINK", "ADVICE", "PEER ID")
_WHY = {"blocked": "blocked", "not_allowed": "not allowed", "stranger": "no member", "outside": "not yet", "expelled": "no more"}


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
        _WHY.get(peer.get("kept_out") or "", link),
        "avoid"
        if peer.get("avoided")
        else ",".join(sorted({said["recommendation"] for said in peer.get("advice") or []})) or "-",
        peer["peer_id"],
    )
