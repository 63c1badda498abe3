from __future__ import annotations

import webbrowser

import click

from meshgen.cli.client import Api
from meshgen.cli.verb import Call, verb


@click.command()
@click.option("--no-browser", is_flag=True, help="Only say where it is.")
@verb
def page(call: Call, no_browser: bool) -> None:
    """Open the node's own page in a browser, signed in."""
    api = Api.of(call.home)
    found = api.post("/v1/session/code")
    address = f"{api.info.url.rstrip('/')}/#code={found['code']}"
    opened = not no_browser and webbrowser.open(address)
    seconds = found["expires_s"]
    text = f"{address}\nThis address signs in whoever opens it first, within {seconds // 60} minutes."
    call.result({"url": address, "expires_s": seconds, "opened": opened}, "the page is open in your browser" if opened else text)
