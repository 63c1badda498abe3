"""Eight nodes on machines of their own, to which bad things can be done: two hubs, three workers, two askers, one of both."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshgen.cli.local_mesh import LOG_FILE, LocalNode, wait_for
from tests.netns.mesh import SpreadMesh
from tests.netns.world import World, world

CLOCK = Path(__file__).parent / "clock"
CHARTER = "meshgen-chaos-v0"
FAR = {"delay_s": 0.2, "loss": 0.05}
"""Each way, and of each packet."""
SMALL_DISK_MIB = 48
PICTURE_S = 0.5
WORKS = {"worker__engine": "fake", "worker__fake_seconds": PICTURE_S}
START_S = 90.0


@dataclass(frozen=True)
class Plan:
    """A node. ``cable``: what is special about its machine's; ``disk``: a small one of its own, which can be filled."""

    roles: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    cable: dict[str, float] = field(default_factory=dict)
    disk: bool = False


PLANS = {
    "hub-one": Plan(("hub", "archivist")),
    "hub-two": Plan(("hub", "archivist")),
    "worker-one": Plan(("worker",), WORKS),
    "worker-far": Plan(("worker",), WORKS, FAR),
    "worker-small": Plan(("worker",), WORKS, disk=True),
    "asker-one": Plan(("requester",)),
    "asker-far": Plan(("requester",), cable=FAR),
    "both": Plan(("requester", "worker"), WORKS, disk=True),
}
HUBS = ("hub-one", "hub-two")


class ChaosMesh(SpreadMesh):
    """Nodes whose clocks can be set wrong."""

    def command(self, name: str) -> list[str]:
        words = super().command(name)
        at = len(self.world.enter(name))
        return [*words[:at], "env", f"PYTHONPATH={CLOCK}", f"CHAOS_CLOCK={self.root / f'{name}.clock'}", *words[at:]]


class Town:
    """The nodes by name, as they are now."""

    def __init__(self, root: Path, world: World, plans: dict[str, Plan]) -> None:
        self.root = root
        self.world = world
        self.plans = plans
        self.mesh = ChaosMesh(root, CHARTER, world)
        self.backups = root / "backups"
        self.doors = ""
        self.disks: list[str] = []
        self.lives = dict.fromkeys(plans, 0)
        self.ended: list[str] = []
        """Nodes that ended without being told to, with the last line of their log."""

    def __getitem__(self, name: str) -> LocalNode:
        return self.mesh.nodes[name]

    @property
    def askers(self) -> list[str]:
        return [name for name, plan in self.plans.items() if "requester" in plan.roles]

    def open(self) -> None:
        for name, plan in self.plans.items():
            self.world.add(name, **plan.cable)
            if plan.disk:
                self._mount(name)
        hubs = [name for name in self.plans if name in HUBS]
        for name in hubs:
            self.launch(name)
        self.await_ready(*hubs)
        self.doors = ",".join(f"/ip4/{self.world[name].ip}/tcp/4711/p2p/{self[name].peer_id}" for name in hubs)
        others = [name for name in self.plans if name not in HUBS]
        for name in others:
            self.launch(name)
        self.await_ready(*others)

    def launch(self, name: str) -> None:
        self.lives[name] += 1
        plan = self.plans[name]
        self.mesh.launch(name, *plan.roles, mesh__bootstrap=self.doors, **plan.settings)

    def await_ready(self, *names: str) -> None:
        self.mesh.await_ready(*(self[name] for name in names))

    def runs(self, name: str) -> bool:
        return self[name].process.poll() is None

    # -- what can be done to a node

    def kill(self, name: str) -> None:
        self[name].kill()

    def freeze(self, name: str) -> None:
        self[name].process.send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        with suppress(ProcessLookupError):
            self[name].process.send_signal(signal.SIGCONT)

    def back_up(self, name: str) -> None:
        """Of a node that is dead: as one copies a folder."""
        shutil.rmtree(self.backups / name, ignore_errors=True)
        shutil.copytree(self.mesh.root / name, self.backups / name, ignore=shutil.ignore_patterns(LOG_FILE, "run"))

    def has_backup(self, name: str) -> bool:
        return (self.backups / name).is_dir()

    def put_back(self, name: str) -> None:
        home = self.mesh.root / name
        for file in home.iterdir():
            if file.name != LOG_FILE:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        shutil.copytree(self.backups / name, home, dirs_exist_ok=True)

    def set_clock(self, name: str, off_s: float) -> None:
        (self.root / f"{name}.clock").write_text(str(off_s))

    def fill_disk(self, name: str) -> None:
        ballast = self.mesh.root / name / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)

    def empty_disk(self, name: str) -> None:
        (self.mesh.root / name / "ballast").unlink(missing_ok=True)

    # -- the end

    def rest(self) -> None:
        """Everything that was done is undone, and all nodes run."""
        self.world.heal()
        for name in self.plans:
            self.set_clock(name, 0)
            self.thaw(name)
            if self.plans[name].disk:
                self.empty_disk(name)
            if not self.runs(name):
                self.launch(name)
        self.await_ready(*self.plans)

    def agree(self, seconds: float) -> bool:
        """Both hubs, who keep all logs, hold the same."""
        hubs = [self[name].api for name in self.plans if name in HUBS]
        try:
            wait_for(lambda: len({hub.get("/v1/status")["credit"]["digest"] for hub in hubs}) == 1, "one digest", seconds)
        except Exception:  # noqa: BLE001 - whatever it is, they do not agree
            return False
        return True

    def close(self) -> None:
        for name in self.mesh.nodes:
            self.thaw(name)
        self.mesh.stop()

    def unmount(self) -> None:
        for name in self.disks:
            subprocess.run(["umount", "--lazy", str(self.mesh.root / name)], check=False)

    def _mount(self, name: str) -> None:
        """Only root may; elsewhere this node shares the machine's disk, which nobody fills."""
        home = self.mesh.root / name
        home.mkdir(parents=True, mode=0o700)
        if os.geteuid() == 0:
            command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MIB}m,mode=700", "tmpfs", str(home)]
            if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                self.disks.append(name)


@contextmanager
def town(root: Path, plans: dict[str, Plan] | None = None) -> Iterator[Town]:
    """Open, and closed in the end: processes, disks, machines. Raises NoNamespacesError where there can be none."""
    with world() as places:
        made = Town(root, places, plans or PLANS)
        try:
            made.open()
            yield made
        finally:
            made.close()
            made.unmount()
