from __future__ import annotations

import click

from meshgen.cli.client import Api
from meshgen.cli.verb import Call, verb
from meshgen.cli.working import show_reasons


@click.command()
@verb
def resume(call: Call) -> None:
    """Take work again."""
    found = Api.of(call.home).post("/v1/worker/resume")
    call.result(found, show_reasons(found))
