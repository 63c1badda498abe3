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
    patience_s = PATIENCE_S + _drain_s(api)
    api.post("/v1/stop")
    deadline = time.monotonic() + patience_s
    while api.info.alive():
        if time.monotonic() > deadline:
            raise Fault(
                f"the node (process {api.info.pid}) has not ended after {patience_s:.0f} s", f"end it with: kill {api.info.pid}"
            )
        time.sleep(0.05)


def _drain_s(api: Api) -> float:
    """So long it may take to end the jobs that it has accepted."""
    try:
        return float(api.get("/v1/settings")["settings"]["node.drain_s"])
    except Fault:  # it was started without a config file
        return 0.0
