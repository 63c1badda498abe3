"""A job as the command line follows it: submitted, watched to its end, cancelled by Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from meshgen.cli.client import Api, Event
from meshgen.cli.faults import Cancelled
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
    """Submit, show what happens, fetch each result as it arrives: the finished job. Ctrl-C cancels it.

    ``hear`` is told every event, and writes to the terminal: there are no bars then.
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
        api.delete(address)
        for _ in _events(api, job_id):
            pass  # what has arrived is paid for before the job ends; another Ctrl-C does not wait for it
        job = api.get(address)
        fetch(job)
        saved = " and are saved" if job["results"] else ""
        raise Cancelled(f"cancelled; {len(job['results'])} of {count(wanted, noun)} had arrived{saved}") from None
    return dict(api.get(address))


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
