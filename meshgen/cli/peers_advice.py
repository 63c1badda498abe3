"""`meshgen peers advice`: who recommends what about a peer."""

from __future__ import annotations

import re
from urllib.parse import quote

import click

from meshgen.cli.client import Api
from meshgen.cli.credit_text import when
from meshgen.cli.verb import Call, plain, table, verb
from meshgen.cli.whom import People


@click.command()
@click.argument("peer", metavar="PEER|ACCOUNT")
@verb
def advice(call: Call, peer: str) -> None:
    """Who recommends to trust or to avoid PEER, and why. This node heeds those alone whom it follows."""
    api = Api.of(call.home)
    people = People(api)
    whom = peer if re.fullmatch(r"[0-9a-f]{64}", peer) else people.find(peer)
    found = api.get(f"/v1/peers/{quote(whom)}/advice")
    rows = [
        (
            people.name(said["by"]),
            "yes" if said["followed"] else "no",
            said["recommendation"],
            when(said["expires_ms"]),
            plain(said["why"]),
        )
        for said in sorted(found["said"], key=lambda said: (not said["followed"], said["by"]))
    ]
    nothing = "nobody whose log is kept here says anything about it"
    call.result(found, table(("WHO", "FOLLOWED", "SAYS", "UNTIL", "WHY"), rows) if rows else nothing)
