from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault
from meshgen.cli.saving import Saver
from meshgen.cli.verb import Call, count, kudos, plain, table, verb
from meshgen.peers.request import NOUNS


@click.command()
@click.argument("which", nargs=-1, metavar="[ID | cancel ID | save ID]")
@click.option("--out", "-o", default=None, metavar="DIR|FILE", help="Where the results that are saved go.")
@verb
def jobs(call: Call, which: tuple[str, ...], out: str | None) -> None:
    """List own jobs, show one, cancel one, save its results once more."""
    match which:
        case ():
            found = Api.of(call.home).get("/v1/jobs")
            call.result(found, _listed(found["jobs"]))
        case ("cancel", job_id):
            _cancel(call, job_id)
        case ("save", job_id):
            _save(call, job_id, out)
        case (job_id,) if job_id not in ("cancel", "save"):
            found = Api.of(call.home).get(f"/v1/jobs/{quote(job_id, safe='')}")
            call.result(found, _shown(found))
        case _:
            raise click.UsageError("give nothing, an ID, or: cancel ID, save ID")


def _save(call: Call, job_id: str, out: str | None) -> None:
    """Pictures as files; texts and what forms found go to standard output."""
    api = Api.of(call.home)
    job = api.get(f"/v1/jobs/{quote(job_id, safe='')}")
    if not job["results"]:
        raise Fault(f"the job has no results: it is {job['state']}", job["error"])
    saver = Saver(Path(out or api.info.pictures_dir or "."), job["count"])
    found: list[str] = []
    for result in job["results"]:
        data = api.fetch(result["url"])
        is_picture = result["media"] == "image/png"
        name = (
            saver.save(result["index"], job["model"], result["seed"], data)
            if is_picture
            else plain(data.decode("utf-8", "replace"))
        )
        found.append(str(name))
    call.result({"id": job["id"], "saved": found}, "\n".join(found))


def _cancel(call: Call, job_id: str) -> None:
    api = Api.of(call.home)
    before = api.get(f"/v1/jobs/{quote(job_id, safe='')}")
    found = api.delete(f"/v1/jobs/{quote(job_id, safe='')}")
    over = before["state"] in ("done", "failed", "cancelled")
    call.result(
        found,
        f"the job was over already: {before['state']}" if over else "cancelled; what had arrived stays and is paid",
    )


def _listed(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no jobs since the node started; ask for one with `meshgen generate`"
    heads = ("ID", "STATE", "MODEL", "SIZE", "STEPS", "RESULTS", "KUDOS")
    return table(
        heads,
        (
            (
                job["id"],
                job["state"],
                job["model"],
                _size(job),
                job["steps"],
                f"{len(job['results'])}/{job['count']}",
                kudos(job["mkudos"]),
            )
            for job in rows
        ),
    )


def _size(job: dict[str, Any]) -> str:
    return f"{job['width']}x{job['height']}" if job["width"] else "-"


def _shown(job: dict[str, Any]) -> str:
    error = f": {job['error']}" if job["error"] else ""
    drawn = f"{len(job['results'])} of {count(job['count'], NOUNS[job['kind']])}"
    steps = f"{count(job['steps'], 'step')}, " if job["steps"] else ""
    lines = [
        f"{job['id']}  {job['state']}{error}",
        f"{job['model'] or 'any model'}, {_size(job)}, {steps}{drawn}, {kudos(job['mkudos'])} kudos",
        *(_part(part, NOUNS[job["kind"]]) for part in job["parts"]),
        *(f"  note: {note}" for note in job["notes"]),
    ]
    return "\n".join(lines)


def _part(part: dict[str, Any], noun: str) -> str:
    worker = part["worker_alias"] or part["worker"]
    return f"  {worker}: {count(len(part['indices']), noun)}, {part['state']} {part['why']}".rstrip()
