from __future__ import annotations

import time

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault
from meshgen.cli.verb import Call, verb

PATIENCE_S = 15.0


@click.command()
@verb
def stop(call: Call) -> None:
    """Stop the running node, and wait until it is gone."""
    api = Api.of(call.home)
    stop_node(api)
    call.result({"stopped": True, "pid": api.info.pid}, "stopped")


def stop_node(api: Api) -> None:
    """Until its process is gone. Raises Fault."""
    api.post("/v1/stop")
    deadline = time.monotonic() + PATIENCE_S
    while api.info.alive():
        if time.monotonic() > deadline:
            raise Fault(
                f"the node (process {api.info.pid}) has not ended after {PATIENCE_S:.0f} s", f"end it with: kill {api.info.pid}"
            )
        time.sleep(0.05)
