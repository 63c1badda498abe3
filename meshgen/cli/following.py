"""A job as the command line follows it: submitted, watched to its end, cancelled by Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click

from meshgen.cli.client import Api, Event, NotRunning
from meshgen.cli.faults import FAULT, INTERRUPTED, Silent
from meshgen.cli.verb import count
from meshgen.cli.watching import Bars, Watcher

OVER = ("done", "failed", "cancelled")
Fetch = Callable[[dict[str, Any]], None]
"""Takes a job's view and gets what is new in it."""


def follow(
    api: Api,
    path: str,
    body: dict[str, Any],
    noun: str,
    fetch: Fetch,
    hear: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Submit, show what happens, fetch each result as it arrives: the job as it ended. Ctrl-C cancels it.

    ``hear`` is told every event, an interruption too, and writes to the terminal: no bars then. Raises Fault, NotRunning.
    """
    job_id, wanted = api.post(path, body)["id"], body.get("count", 1)
    address = f"/v1/jobs/{job_id}"
    try:
        with Bars(noun, live=hear is None) as bars:
            watcher = Watcher(bars, wanted)
            for event in _events(api, job_id):
                if event.kind == "result":
                    fetch(api.get(address))
                if hear:
                    hear(event)
                watcher.see(event)
            fetch(api.get(address))  # whose event was lost with a connection
    except KeyboardInterrupt:
        if hear:
            hear(Event("", "interrupted", {}))
        return _cancelled(api, job_id, fetch)
    except NotRunning as gone:
        if hear:
            hear(Event("", "interrupted", {}))
        if isinstance(gone, Silent):
            raise Silent(gone.message, f"{gone.hint}\nonce it answers again: meshgen jobs {job_id}") from None
        raise NotRunning(f"{gone.message}: it ended before the job did, and what had not arrived is lost", gone.hint) from None
    return dict(api.get(address))


def _cancelled(api: Api, job_id: str, fetch: Fetch) -> dict[str, Any]:
    """What has arrived is paid for before the job ends; another Ctrl-C does not wait for it."""
    click.echo("cancelling ...", err=True)
    address = f"/v1/jobs/{job_id}"
    api.delete(address)
    for _ in _events(api, job_id):
        pass
    job = dict(api.get(address))
    fetch(job)
    return job


def why_not_done(job: dict[str, Any], noun: str, kept: str = "") -> str:
    """How a job ended that did not bring everything. ``kept``: what became of what it brought."""
    if job["state"] == "cancelled":
        arrived = len(job["results"])
        return f"cancelled; {arrived} of {count(job['count'], noun)} had arrived{kept if arrived else ''}"
    return f"{job['state']}: {job['error']}" if job["error"] else str(job["state"])


def leave(job: dict[str, Any], api: Api) -> None:
    """Ends the program, if not all went well."""
    if job["state"] == "done":
        return
    if job["state"] == "failed" and api.get("/v1/status").get("connected") == 0:
        click.echo("this node is connected to nobody: `meshgen doctor` says more", err=True)
    click.get_current_context().exit(INTERRUPTED if job["state"] == "cancelled" else FAULT)


def _events(api: Api, job_id: str) -> Iterator[Event]:
    """All events of a job, over as many connections as it takes."""
    last = ""
    while True:
        for event in api.events(job_id, last):
            last = event.id
            yield event
            if event.kind == "end":
                return
        if api.get(f"/v1/jobs/{job_id}")["state"] in OVER:
            return
