from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from meshgen.cli.client import Api
from meshgen.cli.screen import folded
from meshgen.cli.verb import Call, count, kudos, plain, verb
from meshgen.cli.working import show_reasons
from meshgen.peers.reaching import is_alone

NAMES = 12


@click.command()
@verb
def status(call: Call) -> None:
    """What the running node is and does."""
    api = Api.of(call.home)
    found = api.get("/v1/status")
    call.result(found | {"url": api.info.url, "pid": api.info.pid}, _text(found, api.info.url))


def _text(found: dict[str, Any], url: str) -> str:
    jobs, credit = found.get("jobs") or {}, found.get("credit") or {}
    lines = [
        ("peer id", found["peer_id"]),
        ("alias", found.get("alias") or "none"),
        ("roles", ", ".join(found.get("roles", []))),
        ("mesh", _mesh(found.get("mesh") or {})),
        *_member(found),
        ("peers", f"{found.get('peers_known', 0)} known, {found.get('connected', 0)} connected"),
        ("running for", _duration(int(found.get("uptime_s", 0)))),
        ("own jobs", ", ".join(f"{number} {state}" for state, number in sorted(jobs.items())) or "none"),
        ("balance", f"{kudos(credit.get('net_mkudos', 0))} kudos, {kudos(credit.get('held_mkudos', 0))} held"),
        *((("trouble", found["trouble"]),) if found.get("trouble") else ()),
        ("API", url),
        ("reachable", _reach(found.get("reach") or {}, found.get("addresses", []))),
        *((("reached at" if not place else ""), address) for place, address in enumerate(found.get("addresses", []))),
        *_worker(found.get("worker"), "worker" in found.get("roles", [])),
    ]
    return "\n".join(f"{click.style(f'{name:{NAMES}}', bold=True)} {folded(value, NAMES + 1)}" for name, value in lines)


def _reach(reach: dict[str, Any], addresses: Sequence[str] = ()) -> str:
    """Whether others get to this node, in plain words."""
    if is_alone(addresses):
        return "from this machine alone: mesh.listen names no other address, or there is no network"
    if reach.get("state") == "public":
        return "directly"
    if relays := int(reach.get("relays", 0)):
        return f"through {count(relays, 'relay')}: {', '.join(map(plain, reach.get('through', [])))}"
    if reach.get("state") == "private":
        return "not at all yet: it is behind a NAT or a firewall, and looks for a relay"
    return "nobody has tried yet, except on this machine"


def _member(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Why it is none of the mesh's, if it is not."""
    if found.get("membership") == "expelled":
        return [("member", "no more: a delegate has expelled this node; those who did can admit it again")]
    if found.get("membership") == "stranger":
        return [("member", f"not yet: a delegate has to run: meshgen mesh admit {found['peer_id']}")]
    return []


def _mesh(mesh: dict[str, Any]) -> str:
    version = f", charter version {mesh['version']}" if mesh.get("delegates") else ""
    return f"{mesh.get('charter', '')}{version} (id {mesh.get('net', '')})"


def _worker(worker: dict[str, Any] | None, wanted: bool) -> list[tuple[str, str]]:
    if not worker:
        return [("worker", "takes no work: this node has no engine; its log and `meshgen doctor` say more")] * wanted
    memory = f", {worker['vram_free_mib']} of {worker['vram_total_mib']} MiB free"
    done = count(worker["pictures"], "result")
    work = f"{done}, {worker['queued']} queued, {worker['failed']} failed, {worker['unpaid']} unpaid"
    if (error := worker.get("estimate_error")) is not None:
        work += f"; its estimates were {error:.0%} off"
    return [
        ("worker", show_reasons(worker)),
        ("device", f"{worker['device']}: {worker['device_name']}{memory}"),
        ("serves", ", ".join(worker["models"]) or "no model; `meshgen models ls` shows those that are installed"),
        ("worked", work),
        *(("trouble", trouble) for trouble in worker.get("troubles", [])),
    ]


def _duration(seconds: int) -> str:
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
