from __future__ import annotations

from typing import Any

import click

from meshgen.cli.asking import by_id, limits, limits_body, price, prompt_of
from meshgen.cli.client import Api, Event
from meshgen.cli.following import follow, leave, why_not_done
from meshgen.cli.offered import Offered
from meshgen.cli.verb import Call, count, kudos, plain, verb


@click.command()
@click.argument("prompt", nargs=-1, required=True)
@click.option("--model", default="", help="By name (default: the one that most workers offer).")
@click.option("--tokens", type=click.IntRange(1, 4096), default=80, show_default=True, help="The most that are written.")
@click.option(
    "--context", type=click.IntRange(0, 2**20), default=0, help="Tokens of the prompt's end to read (default: all that fit)."
)
@click.option("--temperature", type=click.FloatRange(0, 10), default=0.7, show_default=True, help="0 = always the likeliest.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True, help="Nucleus sampling.")
@click.option("--top-k", type=click.IntRange(0, 100_000), default=0, show_default=True, help="0 = of all tokens.")
@click.option(
    "--min-p", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Least share of the likeliest's chance."
)
@click.option(
    "--repetition-penalty",
    type=click.FloatRange(0, 10, min_open=True),
    default=1.0,
    show_default=True,
    help="Above 1: less of it.",
)
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="End before this; may be given again.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=None, help="The first text's (default: random).")
@click.option("--n", "-n", "number", type=click.IntRange(1, 64), default=1, show_default=True, help="How many texts.")
@limits("one text")
@verb
def write(call: Call, **given: Any) -> None:
    """Ask the mesh to go on with a text. - reads PROMPT from standard input. One text shows as it is written."""
    api = Api.of(call.home)
    body = by_id(api, _body(**given))
    if body["model"] and (note := Offered(api).check_model(body["model"], "text")):
        click.echo(note, err=True)
    if body["dry_run"]:
        quote = api.post("/v1/jobs/text", body)
        what = f"{count(quote['count'], 'text')} of at most {count(body['tokens'], 'token')} by {quote['model']}"
        call.result(quote, price(quote, what))
        return
    texts: dict[int, str] = {}

    def fetch(job: dict[str, Any]) -> None:
        new = [result for result in job["results"] if result["index"] not in texts]
        texts.update({result["index"]: api.fetch(result["url"]).decode("utf-8", "replace") for result in new})

    reader = Reader()
    live = body["count"] == 1 and not call.json
    job = follow(api, "/v1/jobs/text", body, "text", fetch, reader.hear if live else None)
    if call.json:
        call.result(job | {"results": [result | {"text": texts[result["index"]]} for result in job["results"]]})
    else:
        reader.finish("\n\n".join(_numbered(job, result, texts[result["index"]]) for result in job["results"]))
        click.echo(_summary(job), err=True)
    leave(job, api)


def _body(
    prompt: tuple[str, ...],
    stops: tuple[str, ...],
    number: int,
    nsfw: bool,
    dry_run: bool,
    max_kudos: float | None,
    timeout: float | None,
    **same: Any,
) -> dict[str, Any]:
    text = prompt_of(prompt, 'say what to go on with: meshgen write "Once upon a time"')
    own = {"prompt": text, "stops": list(stops), "count": number}
    return same | own | limits_body(nsfw, dry_run, max_kudos, timeout)


def _numbered(job: dict[str, Any], result: dict[str, Any], text: str) -> str:
    """Of several, each under its number and its seed."""
    if job["count"] == 1:
        return plain(text)
    return f"{result['index'] + 1} of {job['count']}, seed {result['seed']}:\n{plain(text)}"


class Reader:
    """Shows a text as it is written. Pieces may get lost; the result counts."""

    def __init__(self) -> None:
        self._shown = ""
        self._open = False  # is its line?
        self._ended = False

    def hear(self, event: Event) -> None:
        if event.kind == "piece":
            piece = plain(event.data["text"])
            self._shown += piece
            self._open = True
            click.echo(piece, nl=False)
        elif event.kind in ("result", "interrupted", "note"):  # what is said next begins a line
            self._end_line()
            self._ended = self._ended or (event.kind != "note" and bool(self._shown))
        elif event.kind == "part" and event.data["state"] == "awarded":  # another worker begins anew
            self._end_line()
            self._shown = ""

    def _end_line(self) -> None:
        if self._open:
            click.echo()
            self._open = False

    def finish(self, whole: str) -> None:
        """Show the rest; all of it, in a new line, if other words were shown or their line has ended."""
        if not whole:  # nothing has arrived; what was shown ends its line
            click.echo(nl=self._open)
        elif not self._ended and whole.startswith(self._shown):
            click.echo(whole[len(self._shown) :])
        elif whole != self._shown:
            click.echo(whole if self._ended else f"\n{whole}")


def _summary(job: dict[str, Any]) -> str:
    if job["state"] != "done":
        return why_not_done(job, "text")
    seconds = (job["finished_ms"] - job["created_ms"]) / 1000
    return f"{count(len(job['results']), 'text')} by {job['model']} in {seconds:.1f} s for {kudos(job['mkudos'])} kudos"
