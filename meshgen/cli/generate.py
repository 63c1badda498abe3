from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import FAULT
from meshgen.cli.following import follow
from meshgen.cli.picture_options import picture_body, picture_options
from meshgen.cli.saving import Saver
from meshgen.cli.verb import Call, count, kudos, verb


class Size(click.ParamType[tuple[int, int]]):
    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,5})[xX*](\d{1,5})", str(value))
        if not found:
            self.fail(f"{value!r} is not a size such as 512x768", param, ctx)
        return int(found[1]), int(found[2])


@click.command()
@click.argument("prompt")
@click.option("--negative", default="", help="What the pictures should not show.")
@click.option("--model", default="", help="By name (default: as set, else the one that most workers offer).")
@click.option("--size", type=Size(), default=None, help="In pixels, multiples of 8 (default: the model's own).")
@click.option("--steps", type=click.IntRange(1, 1000), default=20, show_default=True, help="Denoising steps.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=None, help="The first picture's; the others count on (default: random)."
)
@click.option(
    "--guidance", type=click.FloatRange(0, 100), default=5.0, show_default=True, help="How closely to follow the prompt."
)
@click.option("--scheduler", default="", help="By AI Horde's name or diffusers' (default: the model's own).")
@click.option("--n", "-n", "number", type=click.IntRange(1, 64), default=1, show_default=True, help="How many pictures.")
@click.option("--out", "-o", default=None, metavar="DIR|FILE", help="Where to save them; a name ending in .png is a file.")
@picture_options
@click.option("--private", is_flag=True, help="Leave the prompt out of the pictures' metadata.")
@click.option("--share/--no-share", "shared", default=None, help="Let others have the pictures too, for less (default: as set).")
@click.option("--dry-run", is_flag=True, help="Say what it would cost, and ask nobody anything.")
@click.option("--max-kudos", type=click.FloatRange(0, 2**30), default=None, help="The most that one picture may cost.")
@click.option("--timeout", type=click.FloatRange(1, 86400), default=None, metavar="SECONDS", help="Give up after so long.")
@verb
def generate(call: Call, out: str | None, dry_run: bool, **given: Any) -> None:
    """Ask the mesh for pictures. PROMPT says what to draw; - reads it from standard input."""
    api = Api.of(call.home)
    if dry_run:
        quote = api.post("/v1/jobs", _body(**given) | {"dry_run": True})
        call.result(quote, _price(quote))
        return
    job, files = follow_job(api, _body(**given), Saver(Path(out or api.info.pictures_dir or "."), given["number"]))
    if call.json:
        call.result(_document(job, files))
    else:  # files to stdout, one a line, for whatever comes next in a pipe
        click.echo("".join(f"{files[index]}\n" for index in sorted(files)), nl=False)
        click.echo(_summary(job), err=True)
    if job["state"] != "done":
        click.get_current_context().exit(FAULT)


def follow_job(api: Api, body: dict[str, Any], saver: Saver) -> tuple[dict[str, Any], dict[int, Path]]:
    """Submit, show what happens, save each picture as it arrives: the finished job and its files by index."""
    job = follow(api, "/v1/jobs", body, "picture", lambda job: _save_new(api, job, saver))
    return job, saver.files


def _body(
    prompt: str,
    negative: str,
    size: tuple[int, int] | None,
    guidance: float,
    number: int,
    max_kudos: float | None,
    timeout: float | None,
    **same: Any,
) -> dict[str, Any]:
    width, height = size or (0, 0)
    return (
        picture_body(same)
        | same
        | {
            "prompt": sys.stdin.read().strip() if prompt == "-" else prompt,
            "negative_prompt": negative,
            "width": width,
            "height": height,
            "guidance_scale": guidance,
            "count": number,
            "max_mkudos": None if max_kudos is None else round(max_kudos * 1000),
            "timeout_s": timeout,
        }
    )


def _save_new(api: Api, job: dict[str, Any], saver: Saver) -> None:
    for result in job["results"]:
        if result["index"] not in saver.files:
            saver.save(result["index"], job["model"], result["seed"], api.fetch(result["url"]))


def _price(quote: dict[str, Any]) -> str:
    number = quote["count"]
    each = " each" if number > 1 else ""
    lines = [f"{count(number, 'picture')} of {quote['width']}x{quote['height']} in {quote['steps']} steps by {quote['model']}"]
    lines.append(f"by the tariff: {kudos(quote['tariff_total_mkudos'])} kudos{', shared' if quote['shared'] else ''}")
    lines.append(f"at most:       {kudos(quote['total_mkudos'])} kudos ({kudos(quote['max_mkudos'])}{each}; --max-kudos sets it)")
    for level in quote["levels"]:
        asks = f"{count(level['workers'], 'worker asks', 'workers ask')} {kudos(level['mkudos'])} kudos{each}"
        lines.append(asks + ("" if level["in_reach"] else ", which is more than that"))
    if not quote["levels"]:
        lines.append("no worker is known yet that would do it")
    if quote["own"]:
        lines.append("this node can draw it too, for nothing")
    return "\n".join([*lines, "nobody was asked anything"])


def _document(job: dict[str, Any], files: dict[int, Path]) -> dict[str, Any]:
    results = [result | {"file": str(files[result["index"]])} for result in job["results"] if result["index"] in files]
    return job | {"results": results}


def _summary(job: dict[str, Any]) -> str:
    if job["state"] != "done":
        return f"{job['state']}: {job['error']}" if job["error"] else str(job["state"])
    seconds = (job["finished_ms"] - job["created_ms"]) / 1000
    return f"{count(len(job['results']), 'picture')} in {seconds:.1f} s for {kudos(job['mkudos'])} kudos"
