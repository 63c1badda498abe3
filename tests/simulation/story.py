"""One seed's story: thirty peers work for each other while the net splits, nodes die in the middle of a write, and six cheat.

After ``TROUBLE_S`` the net is whole, everybody honest runs again, and nobody cheats any more: the log must come right.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from meshgen.engine.fake import FakeEngine
from meshgen.ledger.store import Disk
from meshgen.peers.job import Job
from meshgen.peers.peer import Peer
from meshgen.peers.reconciliation import PROVED_S
from meshgen.peers.request import ImageRequest, RequestError
from meshgen.testing import VirtualMesh, simulate
from tests.simulation.cheaters import CAST, Cheater, cheaters
from tests.simulation.invariants import check_end, check_forks, visible_forks
from tests.simulation.watch import Deliveries

CONDITIONS = {"delay_s": (0.005, 0.25), "loss": 0.03}
ARCHIVISTS = {"hub": "hub archivist", "archive": "archivist"}
WORKERS, BOTH, REQUESTERS = 10, 4, 8
PEERS = len(ARCHIVISTS) + WORKERS + BOTH + REQUESTERS + len(CAST)
TROUBLE_S = 60.0
MAX_JOB_S = 400.0
END_S = 225.0
"""Not before: then the last hold that anybody honest made in the trouble has expired."""
CRASHES = 6
RESTORES = 3


@dataclass
class Story:
    """What became of one seed."""

    seed: int
    digest: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    worst_loss: float = 0.0
    """What a worker lost most in one job, in pictures."""
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        again = f"python -m tests.simulation --first {self.seed} --seeds 1"
        return "\n".join((f"seed {self.seed} ({again})", *self.faults))


def tell(seed: int) -> Story:
    """The same seed, the same story. A fault of the code itself is one of the story's."""
    scenes = _Scenes(seed)
    try:
        return simulate(scenes.play, seed, **CONDITIONS)
    except Exception:  # noqa: BLE001 - whatever it was, it must be told with its seed
        scenes.story.faults.append(traceback.format_exc())
        return scenes.story


class _Scenes:
    def __init__(self, seed: int) -> None:
        self.story = Story(seed)
        self.rng = random.Random(f"story/{seed}")
        self.jobs: list[tuple[Peer, Job]] = []
        self.backups: dict[str, Disk] = {}

    async def play(self, mesh: VirtualMesh) -> Story:
        story = self.story
        deliveries = Deliveries(mesh.trace)
        await self._gather(mesh)
        async with cheaters(mesh) as cast:
            await self._trouble(mesh, cast)
            visible = visible_forks(mesh)
            await trio.sleep(PROVED_S)
            story.faults += check_forks(mesh, visible)
            with trio.move_on_after(MAX_JOB_S):
                await self._set_back(mesh)
            await self._rest(mesh)
            story.faults += check_end(mesh, deliveries, story, self.backups.keys())
            self._count(mesh, cast, deliveries, visible)
        story.digest = mesh.digest()
        return story

    async def _gather(self, mesh: VirtualMesh) -> None:
        for name, roles in ARCHIVISTS.items():
            await mesh.add(name, roles)
        async with trio.open_nursery() as nursery:
            for number in range(WORKERS + BOTH):
                roles = "worker" if number < WORKERS else "worker requester"
                nursery.start_soon(self._join, mesh, f"worker {number}", roles)
            for number in range(REQUESTERS):
                nursery.start_soon(self._join, mesh, f"asker {number}", "requester")

    async def _join(self, mesh: VirtualMesh, name: str, roles: str) -> None:
        engine = FakeEngine(seconds_per_picture=self.rng.uniform(0.5, 3.0)) if "worker" in roles else None
        await mesh.add(name, roles, engine, requester__part_timeout_min_s=20)

    async def _trouble(self, mesh: VirtualMesh, cast: list[Cheater]) -> None:
        """Everything goes wrong at once, for so long."""
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(TROUBLE_S):
                async with trio.open_nursery() as troubles:
                    for cheater in cast:
                        troubles.start_soon(cheater.keep_cheating)
                    for name in mesh.nodes:
                        if mesh.nodes[name].requester is not None:
                            troubles.start_soon(self._ask, mesh, name)
                    troubles.start_soon(self._split, mesh)
                    for name in self.rng.sample(sorted(mesh.nodes), CRASHES):
                        troubles.start_soon(self._crash, mesh, name)
                    for name in self.rng.sample(sorted(mesh.nodes), RESTORES):
                        troubles.start_soon(self._back_up, mesh, name)
            mesh.heal()
            for name in list(mesh.nodes):
                mesh.crash(name, 0)  # those that have not come by now don't come any more
                if not mesh.running(name):
                    nursery.start_soon(mesh.restart, name)

    async def _ask(self, mesh: VirtualMesh, name: str) -> None:
        for _ in range(self.rng.randint(1, 2)):
            await trio.sleep(self.rng.uniform(0, TROUBLE_S / 2))
            if mesh.running(name):
                self._submit(mesh.nodes[name])

    def _submit(self, node: Peer) -> None:
        if node.requester is not None:
            with suppress(RequestError):
                job = node.requester.submit(ImageRequest("a lighthouse", steps=4, count=self.rng.randint(1, 4)))
                self.jobs.append((node, job))

    async def _split(self, mesh: VirtualMesh) -> None:
        """Into two or three islands, twice, and whole in between."""
        for _ in range(2):
            await trio.sleep(self.rng.uniform(5, 15))
            islands: list[list[str]] = [[] for _ in range(self.rng.randint(2, 3))]
            for name in (*mesh.nodes, *(name for name, _ in CAST)):
                self.rng.choice(islands).append(name)
            mesh.partition(*islands)
            self.story.counts["partitions"] += 1
            await trio.sleep(self.rng.uniform(5, 20))
            mesh.heal()

    async def _crash(self, mesh: VirtualMesh, name: str) -> None:
        """At one of its next writes, whichever that is; and a while later it is started again."""
        await trio.sleep(self.rng.uniform(0, TROUBLE_S * 0.6))
        mesh.crash(name, self.rng.randint(1, 6), after=self.rng.random() < 0.5)
        with trio.move_on_after(TROUBLE_S * 0.3):
            await mesh.died(name)
        if not mesh.running(name):
            await trio.sleep(self.rng.uniform(1, 10))
            await mesh.restart(name)

    async def _back_up(self, mesh: VirtualMesh, name: str) -> None:
        await trio.sleep(self.rng.uniform(TROUBLE_S * 0.2, TROUBLE_S * 0.8))
        self.backups[name] = mesh.backup(name)

    async def _set_back(self, mesh: VirtualMesh) -> None:
        """Some lose their disks, and go on from what they had saved in the middle of it all.

        Not before the mesh has seen their last entry: what nobody else has seen, nobody can tell them.
        """
        for name, disk in self.backups.items():
            node = mesh.nodes[name]
            while not self._is_archived(mesh, node):  # noqa: ASYNC110 - no ledger tells when
                await trio.sleep(1)
            await mesh.kill(name)
            self._submit(await mesh.restore(name, disk))
            self.story.counts["restored"] += 1

    def _is_quiet(self, mesh: VirtualMesh) -> bool:
        proofs = {mesh.nodes[name].ledger.proofs_print() for name in ARCHIVISTS}
        return len(proofs) == 1 and all(self._is_archived(mesh, node) for node in mesh.nodes.values())

    def _is_archived(self, mesh: VirtualMesh, node: Peer) -> bool:
        return all(mesh.nodes[name].ledger.known(node.identity.public_key) == node.ledger.head() for name in ARCHIVISTS)

    async def _rest(self, mesh: VirtualMesh) -> None:
        """Until no job is open, every hold of a lost one has expired, and what it left is claimed."""
        with trio.move_on_after(MAX_JOB_S):
            for peer, job in self.jobs:
                if peer in mesh.nodes.values():  # a job dies with its node
                    await job.wait()
        await trio.sleep_until(END_S)
        with trio.move_on_after(PROVED_S):  # the last RELEASE may be news still, and who was set back has to catch up
            while not self._is_quiet(mesh):  # noqa: ASYNC110 - no ledger tells when
                await trio.sleep(1)

    def _count(self, mesh: VirtualMesh, cast: list[Cheater], deliveries: Deliveries, visible: dict[bytes, set[int]]) -> None:
        counts = self.story.counts
        counts["jobs"] = len(self.jobs)
        counts["done"] = sum(job.state == "done" for _, job in self.jobs)
        counts["pictures"] = deliveries.pictures
        counts["crashes"] = mesh.trace.counts["crashed"]
        counts["forks made"] = sum(bool(cheater.forks) for cheater in cast)
        counts["forks seen"] = len(visible)
        hub = mesh.nodes["hub"].ledger
        counts["forks proved"] = len(hub.forks())
        states = Counter(str(line.state) for author in hub.balances() for line in hub.explain(author))
        counts["claims"], counts["contested"] = states["claimed"] // 2, states["contested"] // 2
