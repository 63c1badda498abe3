"""An honest mesh of four processes, and what its requester feels, who is a friend of the workers' owner."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meshgen.cli.local_mesh import LocalMesh, LocalNode, local_mesh, wait_for
from meshgen.identity import load_or_create

CHARTER = "meshgen-test"
WORKERS = ("first", "second")
PICTURE_S = 0.05
OVER = ("done", "failed", "cancelled")
JOB_S = 60.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Felt:
    """Jobs of a while: seconds each took, and the states of those that did not become pictures."""

    seconds: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def at(self, share: float) -> float:
        """The time that such a share of the jobs stayed below."""
        ordered = sorted(self.seconds) or [float("nan")]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else float("nan")


@dataclass(frozen=True)
class Load:
    cpu_s: float
    rss_mib: float
    at_s: float


@dataclass
class Town:
    mesh: LocalMesh

    def node(self, name: str) -> LocalNode:
        return self.mesh.nodes[name]

    def address(self, name: str) -> str:
        return self.node(name).address()

    def draw(self, felt: Felt) -> None:
        """One job of one picture, from asking for it to having it."""
        api = self.node("requester").api
        start = time.monotonic()
        job = str(api.post("/v1/jobs", {"prompt": "a fjord", "steps": 2})["id"])
        for _event in api.events(job, ""):
            pass
        wait_for(lambda: api.get(f"/v1/jobs/{job}")["state"] in OVER, f"job {job}", JOB_S)
        state = str(api.get(f"/v1/jobs/{job}")["state"])
        if state == "done":
            felt.seconds.append(time.monotonic() - start)
        else:
            felt.lost.append(f"{state}: {api.get(f'/v1/jobs/{job}').get('error', '')}")

    def draw_for(self, seconds: float, pause_s: float = 0.1) -> Felt:
        felt, end = Felt(), time.monotonic() + seconds
        while time.monotonic() < end or (not felt.seconds and not felt.lost):
            self.draw(felt)
            time.sleep(pause_s)
        return felt

    def load(self, name: str) -> Load:
        """What a node's process has used so far."""
        pid = self.node(name).process.pid
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Load((int(fields[11]) + int(fields[12])) * _TICK_S, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, time.monotonic())


@contextmanager
def honest_town(root: Path) -> Iterator[Town]:
    with local_mesh(root, CHARTER) as mesh:
        town = Town(mesh)
        hub = mesh.start("hub", "hub", "archivist")
        home = root / "requester"
        home.mkdir(mode=0o700)
        friend = load_or_create(home).peer_id
        mesh.launch("requester", "requester", through=hub, requester__bid_wait_s=2)
        for name in WORKERS:
            given = {"worker__engine": "fake", "worker__fake_seconds": PICTURE_S, "worker__friends": friend}
            mesh.launch(name, "worker", through=hub, **given)
        mesh.await_ready(*(town.node(name) for name in mesh.nodes))
        wait_for(lambda: _knows_workers(town), "the requester to know both workers", 40)
        yield town


def _knows_workers(town: Town) -> bool:
    peers = town.node("requester").api.get("/v1/peers")["peers"]
    return {peer["alias"] for peer in peers if peer["models"] and peer["connected"]} >= set(WORKERS)
