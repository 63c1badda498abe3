from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import FAULT
from meshgen.cli.following import follow
from meshgen.cli.picture_options import read_picture
from meshgen.cli.saving import Saver
from meshgen.cli.verb import Call, kudos, verb


@click.command()
@click.argument("form")
@click.argument("picture", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", "-o", default=None, metavar="DIR|FILE", help="Where a picture that comes back is saved.")
@click.option("--max-kudos", type=click.FloatRange(0, 2**30), default=None, help="The most that it may cost.")
@click.option("--timeout", type=click.FloatRange(1, 86400), default=None, metavar="SECONDS", help="Give up after so long.")
@verb
def alchemy(call: Call, form: str, picture: Path, out: str | None, max_kudos: float | None, timeout: float | None) -> None:
    """What is in PICTURE, or a better one of it. FORM is nsfw, caption, interrogation, or an upscaler's name;
    `meshgen models` shows what the mesh offers."""
    api = Api.of(call.home)
    body = {
        "form": form,
        "source": base64.b64encode(read_picture(picture)).decode(),
        "max_mkudos": None if max_kudos is None else round(max_kudos * 1000),
        "timeout_s": timeout,
    }
    saver = Saver(Path(out or api.info.pictures_dir or "."), 1)
    found: dict[str, Any] = {}

    def fetch(job: dict[str, Any]) -> None:
        for result in job["results"] if not found else ():
            data = api.fetch(result["url"])
            if result["media"] == "image/png":
                found["file"] = str(saver.save(0, f"{picture.stem}-{form}", result["seed"], data))
            else:
                found["found"] = json.loads(data)

    job = follow(api, "/v1/jobs/form", body, "form", fetch)
    if call.json:
        call.result(job | found)
    elif job["state"] == "done":
        click.echo(found["file"] if "file" in found else json.dumps(found["found"], indent=2))
        click.echo(f"{form} for {kudos(job['mkudos'])} kudos", err=True)
    else:
        click.echo(f"{job['state']}: {job['error']}" if job["error"] else job["state"], err=True)
    if job["state"] != "done":
        click.get_current_context().exit(FAULT)
