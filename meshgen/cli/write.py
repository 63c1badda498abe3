from __future__ import annotations

import sys
from typing import Any

import click

from meshgen.cli.client import Api, Event
from meshgen.cli.faults import FAULT
from meshgen.cli.following import follow
from meshgen.cli.verb import Call, count, kudos, verb


@click.command()
@click.argument("prompt")
@click.option("--model", default="", help="By name (default: the one that most workers offer).")
@click.option("--tokens", type=click.IntRange(1, 4096), default=80, show_default=True, help="The most that are written.")
@click.option("--temperature", type=click.FloatRange(0, 10), default=0.7, show_default=True, help="0 = always the likeliest.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True, help="Nucleus sampling.")
@click.option("--top-k", type=click.IntRange(0, 100_000), default=0, show_default=True, help="0 = of all tokens.")
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="End before this; may be given again.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=None, help="The first text's (default: random).")
@click.option("--n", "-n", "number", type=click.IntRange(1, 64), default=1, show_default=True, help="How many texts.")
@click.option("--max-kudos", type=click.FloatRange(0, 2**30), default=None, help="The most that one text may cost.")
@click.option("--timeout", type=click.FloatRange(1, 86400), default=None, metavar="SECONDS", help="Give up after so long.")
@verb
def write(call: Call, prompt: str, number: int, max_kudos: float | None, timeout: float | None, **given: Any) -> None:
    """Ask the mesh to go on with a text. - reads PROMPT from standard input. One text shows as it is written."""
    api = Api.of(call.home)
    body = given | {
        "prompt": sys.stdin.read() if prompt == "-" else prompt,
        "stops": list(given["stops"]),
        "count": number,
        "max_mkudos": None if max_kudos is None else round(max_kudos * 1000),
        "timeout_s": timeout,
    }
    texts: dict[int, str] = {}

    def fetch(job: dict[str, Any]) -> None:
        new = [result for result in job["results"] if result["index"] not in texts]
        texts.update({result["index"]: api.fetch(result["url"]).decode("utf-8", "replace") for result in new})

    reader = Reader()
    live = number == 1 and not call.json
    job = follow(api, "/v1/jobs/text", body, "text", fetch, reader.hear if live else None)
    if call.json:
        call.result(job | {"results": [result | {"text": texts[result["index"]]} for result in job["results"]]})
    else:
        whole = "\n\n".join(_plain(texts[index]) for index in sorted(texts))
        reader.finish(whole)
        click.echo(_summary(job), err=True)
    if job["state"] != "done":
        click.get_current_context().exit(FAULT)


class Reader:
    """Shows a text as it is written. Pieces may get lost; the result counts."""

    def __init__(self) -> None:
        self._shown = ""
        self._ended = False

    def hear(self, event: Event) -> None:
        if event.kind == "piece":
            piece = _plain(event.data["text"])
            self._shown += piece
            click.echo(piece, nl=False)
        elif event.kind == "result" and self._shown:  # what is said next, of who wrote it, begins a line
            self._ended = True
            click.echo()

    def finish(self, whole: str) -> None:
        """Show the rest; all of it, in a new line, if other words were shown or their line has ended."""
        if not self._ended and whole.startswith(self._shown):
            click.echo(whole[len(self._shown) :])
        elif whole != self._shown:
            click.echo(whole if self._ended else f"\n{whole}")


def _plain(text: str) -> str:
    """A stranger wrote it: no control characters reach the terminal."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")


def _summary(job: dict[str, Any]) -> str:
    if job["state"] != "done":
        return f"{job['state']}: {job['error']}" if job["error"] else str(job["state"])
    seconds = (job["finished_ms"] - job["created_ms"]) / 1000
    return f"{count(len(job['results']), 'text')} by {job['model']} in {seconds:.1f} s for {kudos(job['mkudos'])} kudos"
