from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import click

from meshgen.cli.asking import by_id, limits, limits_body, price
from meshgen.cli.client import Api
from meshgen.cli.following import follow, leave, why_not_done
from meshgen.cli.offered import Offered
from meshgen.cli.picture_options import read_picture
from meshgen.cli.saving import Saver
from meshgen.cli.verb import Call, kudos, verb


@click.command()
@click.argument("form")
@click.argument("picture", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", "-o", default=None, metavar="DIR|FILE", help="Where a picture that comes back is saved.")
@limits("it")
@verb
def alchemy(call: Call, form: str, picture: Path, out: str | None, **given: Any) -> None:
    """What is in PICTURE, or a better one of it. FORM is nsfw, caption, interrogation, or an upscaler's name;
    `meshgen models` shows what the mesh offers."""
    api = Api.of(call.home)
    body = by_id(api, limits_body(**given)) | {"form": form, "source": base64.b64encode(read_picture(picture)).decode()}
    if note := Offered(api).check_form(form):
        click.echo(note, err=True)
    if body["dry_run"]:
        quote = api.post("/v1/jobs/form", body)
        call.result(quote, price(quote, f"{form} of a picture of {quote['width']}x{quote['height']}"))
        return
    job, found = _follow(api, body, Saver(Path(out or api.info.pictures_dir or "."), 1), f"{picture.stem}-{form}")
    if call.json:
        call.result(job | found)
    else:
        if found:
            click.echo(found["file"] if "file" in found else json.dumps(found["found"], indent=2))
        done = f"{form} for {kudos(job['mkudos'])} kudos"
        click.echo(done if job["state"] == "done" else why_not_done(job, "answer"), err=True)
    leave(job, api)


def _follow(api: Api, body: dict[str, Any], saver: Saver, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The job as it ended, and what came back: the ``file`` of a picture, or what was ``found``."""
    found: dict[str, Any] = {}

    def fetch(job: dict[str, Any]) -> None:
        for result in job["results"] if not found else ():
            data = api.fetch(result["url"])
            if result["media"] == "image/png":
                found["file"] = str(saver.save(0, name, result["seed"], data))
            else:
                found["found"] = json.loads(data)

    return follow(api, "/v1/jobs/form", body, "form", fetch), found
