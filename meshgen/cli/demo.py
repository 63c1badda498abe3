from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import click

from meshgen.cli.client import Api
from meshgen.cli.faults import Cancelled, Fault
from meshgen.cli.local_mesh import LocalMesh, LocalNode, local_mesh, wait_for
from meshgen.cli.saving import Saver
from meshgen.cli.verb import Call, kudos, table, verb

PROMPT = "a red circle above a blue square on a yellow background"
PICTURES = 9
STEPS = 20
GUIDANCE = 3.0  # suits the bundled model best
WORKERS = ("worker-1", "worker-2")
HOMES = "homes"
MARK = f"{HOMES}/.meshgen-demo"
"""Says that a folder is a demo's, to be cleared by the next one."""
SETTLE_S = 20.0


@click.command()
@click.argument("prompt", default=PROMPT)
@click.option("--out", "-o", default="demo", show_default=True, metavar="DIR", help="Where pictures, report and homes go.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=None, help="The first picture's (default: random).")
@click.option("--engine", type=click.Choice(["diffusers", "fake"]), default="diffusers", help="What the workers draw with.")
@click.option("--stay", is_flag=True, help="Keep the mesh up for trying things, until Ctrl-C.")
@verb
def demo(call: Call, prompt: str, out: str, seed: int | None, engine: str, stay: bool) -> None:
    """A whole mesh on this machine, to see it work: a hub, two workers and a requester turn PROMPT into nine pictures."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no node is left behind
    folder = Path(out).expanduser().absolute()
    _clear(folder)
    with local_mesh(folder / HOMES, "meshgen-demo-v0") as mesh:
        call.say("starting a hub, two workers and a requester on this machine ...")
        _start(mesh, engine)
        report = _generate(call, mesh, folder, prompt, seed)
        if stay:
            _check(mesh, report, folder)
            _stay(call, mesh, report, folder)
    if not stay:
        _check(mesh, report, folder)
        call.result(report, _summary(report, folder))
    if not _agrees(report):
        raise Fault("the credit logs do not agree", f"see {folder / 'report.json'}")


def _check(mesh: LocalMesh, report: dict[str, Any], folder: Path) -> None:
    """Every log as it lies on disk, which a running node's may too: into the report, and that into its file."""
    report["peers"] = [_peer_row(node, report["peers"][node.name]) for node in mesh.nodes.values()]
    report["credit_sum_mkudos"] = sum(peer["balance_mkudos"] for peer in report["peers"])
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def _agrees(report: dict[str, Any]) -> bool:
    return all(peer["log_ok"] for peer in report["peers"]) and not report["credit_sum_mkudos"]


def _clear(folder: Path) -> None:
    """A demo begins anew, and removes nothing but what an earlier one left."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise Fault(f"{folder} holds something else than a demo", "give another folder with --out")
    shutil.rmtree(folder / HOMES, ignore_errors=True)
    (folder / HOMES).mkdir(parents=True)
    (folder / MARK).touch()
    for name in ("report.json", "sheet.png", *(f"picture-{index}.png" for index in range(1, PICTURES + 1))):
        (folder / name).unlink(missing_ok=True)


def _start(mesh: LocalMesh, engine: str) -> None:
    hub = mesh.start("hub", "hub", "archivist")
    for worker in WORKERS:
        mesh.launch(worker, "worker", through=hub, worker__engine=engine, worker__threads=1, worker__max_queue=PICTURES)
    slow = {"requester__part_timeout_min_s": 300}  # a cold machine reads torch for minutes
    mesh.launch("requester", "requester", through=hub, **slow)
    mesh.await_ready(*mesh.nodes.values())
    requester = mesh.nodes["requester"].api
    wait_for(lambda: _workers_seen(requester) == len(WORKERS), "the requester to hear of both workers", 30.0)


def _workers_seen(api: Api) -> int:
    return sum(bool(peer["models"]) for peer in api.get("/v1/peers")["peers"])


def _generate(call: Call, mesh: LocalMesh, folder: Path, prompt: str, seed: int | None) -> dict[str, Any]:
    from meshgen.cli.generate import follow_job

    started = time.monotonic()
    api = mesh.nodes["requester"].api
    body = {"prompt": prompt, "count": PICTURES, "seed": seed, "steps": STEPS, "guidance_scale": GUIDANCE}
    job, files = follow_job(api, body, Saver(folder / "picture.png", PICTURES))
    seconds = time.monotonic() - started
    if job["state"] == "cancelled":
        raise Cancelled("the demo was interrupted")
    if job["state"] != "done":
        raise Fault(f"the demo's job {job['state']}: {job['error']}", f"the nodes' logs are in {folder / HOMES}")
    _sheet(folder, job, [files[index] for index in sorted(files)])
    balances = _settled(mesh, job)
    pictures = [_picture_row(picture, files[picture["index"]]) for picture in job["results"]]
    call.say(f"{PICTURES} pictures in {seconds:.1f} s; checking every credit log ...")
    return {"prompt": prompt, "seconds": round(seconds, 3), "pictures": pictures, "peers": balances}


def _picture_row(picture: dict[str, Any], file: Path) -> dict[str, Any]:
    return {"file": file.name} | {key: picture[key] for key in ("worker", "worker_alias", "receipt", "seed", "mkudos")}


def _sheet(folder: Path, job: dict[str, Any], files: list[Path]) -> None:
    from meshgen.pictures import contact_sheet

    captions = [
        f"{index + 1}   {picture['worker_alias'].partition('#')[0]}   {picture['seed']}"
        for index, picture in enumerate(job["results"])
    ]
    (folder / "sheet.png").write_bytes(contact_sheet([file.read_bytes() for file in files], captions))


def _settled(mesh: LocalMesh, job: dict[str, Any]) -> dict[str, str]:
    """Each node's peer id, once the workers know that they were paid."""
    apis = {name: node.api for name, node in mesh.nodes.items()}
    paid = lambda: sum(apis[name].get("/v1/credit/balance")["balance_mkudos"] for name in WORKERS) == job["mkudos"]  # noqa: E731
    wait_for(paid, "the workers to see their receipts", SETTLE_S)
    return {name: node.peer_id for name, node in mesh.nodes.items()}


def _peer_row(node: LocalNode, peer_id: str) -> dict[str, Any]:
    """The log as it lies on disk, checked from its first entry on."""
    from meshgen.ledger.verify import verify_home

    report = verify_home(node.home)
    return {
        "role": node.name,
        "peer_id": peer_id,
        "home": str(node.home),
        "log_ok": report.ok,
        "log_entries": report.entries,
        "balance_mkudos": report.balance.net,
    }


def _summary(report: dict[str, Any], folder: Path) -> str:
    pictures = table(
        ("picture", "worker", "seed", "kudos", "receipt"),
        [
            (row["file"], row["worker_alias"], row["seed"], kudos(row["mkudos"]), row["receipt"][:16])
            for row in report["pictures"]
        ],
    )
    peers = table(
        ("peer", "peer id", "log", "entries", "kudos"),
        [
            (
                row["role"],
                row["peer_id"],
                "verified" if row["log_ok"] else "BROKEN",
                row["log_entries"],
                kudos(row["balance_mkudos"]),
            )
            for row in report["peers"]
        ],
    )
    total = kudos(report["credit_sum_mkudos"])
    return f"\n{pictures}\n\n{peers}\nall balances together: {total} kudos\n\nlook at {folder / 'sheet.png'}"


def _stay(call: Call, mesh: LocalMesh, report: dict[str, Any], folder: Path) -> None:
    """Says what became of it and where everything is, then waits for Ctrl-C or SIGTERM."""
    nodes = {
        name: {"api": node.api.info.url, "token_file": node.api.info.token_file, "home": str(node.home)}
        for name, node in mesh.nodes.items()
    }
    home = nodes["requester"]["home"]
    try:
        if call.json:
            click.echo(json.dumps({**nodes["requester"], "nodes": nodes, "report": report}))
        else:
            verdict = "every credit log is whole" if _agrees(report) else "THE CREDIT LOGS DO NOT AGREE"
            call.say(f"{_summary(report, folder)}\n{verdict}")
            call.say(
                f"\nThe mesh is up; the requester's page is at {nodes['requester']['api']}. Try, in another terminal:\n"
                f'  meshgen --home {home} generate "a green star"\n'
                f"  meshgen --home {home} page          # opens it, signed in\n"
                f"  meshgen --home {home} top\nCtrl-C ends it."
            )
        signal.pause()
    except KeyboardInterrupt:
        call.say("stopping the mesh ...")
