"""Ten nodes across an internet: a hub, two homes behind routers, a laptop that goes to a third. Who reaches whom, and how."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from meshgen.cli.faults import Fault
from meshgen.cli.local_mesh import LocalNode, wait_for
from tests.netns.mesh import SpreadMesh
from tests.netns.world import World

HUB, LAPTOP = "hub", "laptop"
HOMES = {"home": 4, "lab": 4}
CAFE = "cafe"
JOIN_S, JOB_S = 120.0, 120.0
PICTURE_S = 0.2
OVER = ("done", "failed", "cancelled")
AT_ONCE = 3


@dataclass
class Journey:
    """``ways``: (asker, worker) -> "direct", "relayed", or why there was no picture."""

    ways: dict[tuple[str, str], str] = field(default_factory=dict)
    join_s: dict[str, float] = field(default_factory=dict)
    """From `meshgen run` until the node is linked to another."""
    first_picture_s: dict[str, float] = field(default_factory=dict)
    moved_s: dict[str, float] = field(default_factory=dict)
    """From the laptop's change of address to the end of what was under way."""


def build(world: World, homes: dict[str, int]) -> list[str]:
    """The machines; answers the names of the nodes."""
    world.add(HUB)
    names = [HUB]
    for home, count in homes.items():
        world.site(home)
        for number in range(1, count + 1):
            world.add(f"{home}-{number}", home)
            names.append(f"{home}-{number}")
    world.site(CAFE)
    world.add(LAPTOP, next(iter(homes)))
    return [*names, LAPTOP]


class Travellers(SpreadMesh):
    """Nodes that got in by one line each."""

    def meshgen(self, name: str, *words: str) -> str:
        """The command on that machine, for its home."""
        command = [*self.command(name), *words, "--home", str(self.root / name)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=90)
        if done.returncode:
            raise Fault(f"meshgen {words[0]} on {name}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def found(self, name: str) -> str:
        """Start the hub; answers the line that leads to it."""
        self.launch(name, "hub", "archivist", "requester", "worker", **_WORKS)
        self.await_ready(self.nodes[name])
        return self.meshgen(name, "mesh", "invite")

    def invite(self, name: str, line: str) -> None:
        self.meshgen(name, "join", line)
        self.launch(name, "requester", "worker", mesh__charter=None, mesh__bootstrap=None, **_WORKS)


_WORKS = {"worker__engine": "fake", "worker__fake_seconds": PICTURE_S, "worker__stranger_pictures_per_minute": 0}


def travel(mesh: Travellers, names: list[str], tell: Callable[[str], None] = lambda _: None) -> Journey:
    journey = Journey()
    line = mesh.found(HUB)
    others = [name for name in names if name != HUB]
    for name in others:
        began = time.monotonic()
        mesh.invite(name, line)
        mesh.await_ready(mesh.nodes[name])
        wait_for(lambda name=name: mesh.nodes[name].api.get("/v1/status")["connected"] > 0, f"{name} to join", JOIN_S)  # type: ignore[misc]
        journey.join_s[name] = time.monotonic() - began
        first = ask(mesh.nodes[name], [mesh.nodes[HUB].peer_id])
        journey.first_picture_s[name] = time.monotonic() - began
        tell(f"{name} joined after {journey.join_s[name]:.1f} s; its first picture: {first['state']}")
    for name in names:
        wait_for(lambda name=name: workers(mesh.nodes[name]) >= set(names) - {name}, f"{name} to know all", JOIN_S)  # type: ignore[misc]
    pairs = [(asker, worker) for asker in names for worker in names if asker != worker]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for pair, way in zip(pairs, threads.map(lambda pair: how(mesh, *pair), pairs), strict=True):
            journey.ways[pair] = way
            tell(f"{pair[0]} -> {pair[1]}: {way}")
    move(mesh, journey, tell)
    return journey


def move(mesh: Travellers, journey: Journey, tell: Callable[[str], None]) -> None:
    """The laptop changes its address while it waits for pictures, and again while it draws some."""
    home, *others = HOMES
    laptop, far = mesh.nodes[LAPTOP], mesh.nodes[f"{others[0]}-1"]
    for what, asker, worker, to in (("as an asker", laptop, far, CAFE), ("as a worker", far, laptop, home)):
        try:
            found, seconds = moved(mesh, asker, worker, to)
        except Fault as fault:
            found, seconds = {"state": "lost", "error": fault.message}, JOB_S
        journey.moved_s[what] = seconds
        tell(f"the laptop moved {what}: {found['state']} {found['error']} after {seconds:.1f} s")
        if found["state"] != "done":
            journey.ways[LAPTOP, f"moved {what}"] = found["error"]


def moved(mesh: Travellers, asker: LocalNode, worker: LocalNode, to: str) -> tuple[dict[str, Any], float]:
    """The job as it ended, and how long after the move. Raises Fault."""
    job = start(asker, [worker.peer_id], count=16)
    wait_for(lambda: len(state(asker, job)["results"]) > 0, "the first picture before the move", JOB_S)
    mesh.world.move(LAPTOP, to)
    began = time.monotonic()
    wait_for(lambda: state(asker, job)["state"] in OVER, "the job's end after the move", JOB_S)
    return state(asker, job), time.monotonic() - began


def how(mesh: Travellers, asker: str, worker: str) -> str:
    node, peer = mesh.nodes[asker], mesh.nodes[worker].peer_id
    job = ask(node, [peer])
    if job["state"] != "done":
        return f"failed: {job['error']}"
    row = next((row for row in node.api.get("/v1/peers")["peers"] if row["peer_id"] == peer), {})
    return "relayed" if row.get("relayed") else "direct" if row.get("connected") else "done, and no link any more"


def start(node: LocalNode, workers: list[str], count: int = 1, **more: int) -> str:
    return str(node.api.post("/v1/jobs", {"prompt": "a fjord", "steps": 4, "count": count, "workers": workers} | more)["id"])


def ask(node: LocalNode, workers: list[str]) -> dict[str, Any]:
    job = start(node, workers)
    wait_for(lambda: state(node, job)["state"] in OVER, f"{node.name}'s job", JOB_S)
    return state(node, job)


def state(node: LocalNode, job: str) -> dict[str, Any]:
    return dict(node.api.get(f"/v1/jobs/{job}"))


def workers(node: LocalNode) -> set[str]:
    return {row["alias"] for row in node.api.get("/v1/peers")["peers"] if row["models"]}


def table(journey: Journey, names: list[str]) -> str:
    short = {"direct": "d", "relayed": "r"}
    lines = [f"{'asks / works':<12}" + "".join(f"{name:>8}" for name in names)]
    for asker in names:
        cells = (short.get(journey.ways.get((asker, worker), ""), "-" if asker == worker else "FAILED") for worker in names)
        lines.append(f"{asker:<12}" + "".join(f"{cell:>8}" for cell in cells))
    lines += ["d direct, r relayed", ""]
    lines += [f"{'node':<12}{'joined':>8}{'first picture':>15}   seconds from `meshgen join`"]
    lines += [f"{name:<12}{journey.join_s[name]:>8.1f}{journey.first_picture_s[name]:>15.1f}" for name in journey.join_s]
    lines += [f"the laptop moved {what}: the job ended {seconds:.1f} s later" for what, seconds in journey.moved_s.items()]
    return "\n".join(lines)


def failures(journey: Journey) -> list[str]:
    return [f"{one} -> {other}: {way}" for (one, other), way in journey.ways.items() if way not in ("direct", "relayed")]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
