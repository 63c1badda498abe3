from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from meshgen.cli.asking import by_id, limits, limits_body, price, prompt_of
from meshgen.cli.client import Api
from meshgen.cli.following import follow, leave, why_not_done
from meshgen.cli.offered import HIRES_FROM, Offered, check_scheduler
from meshgen.cli.picture_options import mask_note, picture_body, picture_options
from meshgen.cli.saving import Saver
from meshgen.cli.verb import Call, count, kudos, verb


class Size(click.ParamType[tuple[int, int]]):
    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,5})[xX*](\d{1,5})", str(value))
        if not found:
            self.fail(f"{value!r} is not a size such as 512x768", param, ctx)
        from meshgen.protocols.offer import MAX_SIDE

        size = int(found[1]), int(found[2])
        if any(side % 8 or not 8 <= side <= MAX_SIDE for side in size):
            self.fail(f"{value!r}: each side is a multiple of 8 from 8 to {MAX_SIDE}", param, ctx)
        return size


@click.command()
@click.argument("prompt", nargs=-1, required=True)
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
@limits("one picture")
@verb
def generate(call: Call, out: str | None, source: Path | None, mask: Path | None, **given: Any) -> None:
    """Ask the mesh for pictures. PROMPT says what to draw; - reads it from standard input."""
    api = Api.of(call.home)
    check_scheduler(given["scheduler"])
    body = by_id(api, _body(source=source, mask=mask, **given))
    for note in (*_fitting(api, body), mask_note(source, mask)):
        if note:
            click.echo(note, err=True)
    if body["dry_run"]:
        quote = api.post("/v1/jobs", body)
        call.result(quote, price(quote, _what(quote)))
        return
    job, files = follow_job(api, body, Saver(Path(out or api.info.pictures_dir or "."), given["number"]))
    if call.json:
        call.result(_document(job, files))
    else:  # files to stdout, one a line, for whatever comes next in a pipe
        click.echo("".join(f"{files[index]}\n" for index in sorted(files)), nl=False)
        click.echo(_summary(job), err=True)
    leave(job, api)


def follow_job(api: Api, body: dict[str, Any], saver: Saver) -> tuple[dict[str, Any], dict[int, Path]]:
    """Submit, show what happens, save each picture as it arrives: the finished job and its files by index."""
    job = follow(api, "/v1/jobs", body, "picture", lambda job: _save_new(api, job, saver))
    return job, saver.files


def _body(
    prompt: tuple[str, ...],
    negative: str,
    size: tuple[int, int] | None,
    guidance: float,
    number: int,
    nsfw: bool,
    dry_run: bool,
    max_kudos: float | None,
    timeout: float | None,
    **same: Any,
) -> dict[str, Any]:
    width, height = size or (0, 0)
    own = {
        "prompt": prompt_of(prompt, 'say what to draw: meshgen generate "a lighthouse at dawn"').strip(),
        "negative_prompt": negative,
        "width": width,
        "height": height,
        "guidance_scale": guidance,
        "count": number,
    }
    return picture_body(same) | same | own | limits_body(nsfw, dry_run, max_kudos, timeout)


def _fitting(api: Api, body: dict[str, Any]) -> list[str]:
    """What does not quite fit the mesh, or would do nothing. Raises Fault."""
    adapters = {
        "lora": [lora["name"] for lora in body["loras"]],
        "inversion": [inversion["name"] for inversion in body["inversions"]],
        "controlnet": [body["control"]["name"]] if body["control"] else [],
        "post": body["post"],
    }
    if not (body["model"] or body["hires_fix"] or any(adapters.values())):
        return []
    offered = Offered(api)
    notes = [offered.check_model(body["model"], "picture")]
    notes += [note for kind, names in adapters.items() for note in offered.check_adapters(kind, names)]
    side = offered.own_side(body["model"])
    pixels = body["width"] * body["height"]
    if body["hires_fix"] and (not pixels or (side and pixels < HIRES_FROM * side * side)):
        larger = f"{2 * side}x{2 * side}" if side else "1024x1024"
        notes.append(f"--hires-fix does nothing at the model's own size: give a larger --size, such as {larger}")
    return notes


def _save_new(api: Api, job: dict[str, Any], saver: Saver) -> None:
    for result in job["results"]:
        if result["index"] not in saver.files:
            saver.save(result["index"], job["model"], result["seed"], api.fetch(result["url"]))


def _what(quote: dict[str, Any]) -> str:
    size = f"{quote['width']}x{quote['height']}"
    return f"{count(quote['count'], 'picture')} of {size} in {count(quote['steps'], 'step')} by {quote['model']}"


def _document(job: dict[str, Any], files: dict[int, Path]) -> dict[str, Any]:
    results = [result | {"file": str(files[result["index"]])} for result in job["results"] if result["index"] in files]
    return job | {"results": results}


def _summary(job: dict[str, Any]) -> str:
    if job["state"] != "done":
        return why_not_done(job, "picture", " and are saved")
    seconds = (job["finished_ms"] - job["created_ms"]) / 1000
    return f"{count(len(job['results']), 'picture')} in {seconds:.1f} s for {kudos(job['mkudos'])} kudos"
