from __future__ import annotations

import click

from meshgen.cli.client import Api
from meshgen.cli.since import parse_span
from meshgen.cli.verb import Call, count, verb
from meshgen.cli.working import show_reasons


@click.command()
@click.option("--for", "span", default="", metavar="SPAN", help="How long, e.g. 30m, 2h, 3d (default: until `meshgen resume`).")
@click.option("--why", "message", default="", metavar="TEXT", help="One line, shown in `meshgen status`.")
@click.option("--now", is_flag=True, help="Stop running jobs too; their requesters turn to other workers.")
@verb
def pause(call: Call, span: str, message: str, now: bool) -> None:
    """Take no new work; jobs that were accepted go on to their end. Lasts through restarts."""
    body = {"for_s": parse_span(span, "--for") // 1000 if span else 0, "message": message, "now": now}
    found = Api.of(call.home).post("/v1/worker/pause", body)
    call.result(found, show_reasons(found) + _under_way(found["jobs"], now))


def _under_way(jobs: int, now: bool) -> str:
    if not jobs:
        return ""
    words = ("stops" if now else "goes on to its end") if jobs == 1 else ("stop" if now else "go on to their end")
    return f"\n{count(jobs, 'job')} under way {words}"
