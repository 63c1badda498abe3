"""Whole meshes in one process: real peers with real roles and ledgers on the in-memory net, fake engines, disks in memory."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

import trio
import trio.testing

from meshgen.engine.fake import FakeEngine
from meshgen.engine.port import Engine
from meshgen.identity import Identity
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.store import Disk
from meshgen.net.guard import single_errors
from meshgen.net.memory import Event, MemoryMesh
from meshgen.net.port import NetError, PeerId
from meshgen.peers.acquaintances import Acquaintance
from meshgen.peers.directory import table_rules
from meshgen.peers.job import Job
from meshgen.peers.peer import Peer
from meshgen.peers.request import ImageRequest
from meshgen.peers.staying import LOOK_S, Surroundings
from meshgen.protocols.credit import net_id
from meshgen.settings import Settings, load_settings
from meshgen.testing.seeded import seeded
from meshgen.testing.trace import Trace

EPOCH_MS = 1_789_000_000_000
"""The wall clock at virtual second 0."""
NET = net_id(b"meshgen-test")
MAX_DOORS = 3
"""A node that joins tries so many others."""

T = TypeVar("T")


def now_ms() -> int:
    """Wall time as the virtual clock has it."""
    return EPOCH_MS + round(trio.current_time() * 1000)


def identity(name: str) -> Identity:
    """The identity of whoever goes by this name: the same in every run."""
    return Identity.from_seed(sha256(name.encode()).digest())


class Crash(BaseException):
    """A node died in the middle of a write: no handler for errors may outlive it."""


class MemoryShelf:
    """Acquaintances, on a disk that is memory."""

    def __init__(self) -> None:
        self.known: list[Acquaintance] = []

    def load(self) -> list[Acquaintance]:
        return self.known

    async def save(self, known: Sequence[Acquaintance]) -> None:
        await trio.lowlevel.checkpoint()
        self.known = list(known)


@dataclass
class _Place:
    """What of a node outlives its death."""

    name: str
    settings: Settings
    engine: Engine | None
    disk: Disk = field(default_factory=Disk)
    lives: int = 0
    dead: bool = False
    crash_in: int = 0
    """The write, counted from 1, at which it dies; 0: none."""
    crash_after: bool = False
    shelf: MemoryShelf = field(default_factory=MemoryShelf)
    clock_ms: int = 0
    """How far its clock is ahead."""
    doors: bool = True
    """Is it shown in by others when it starts?"""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)


class VirtualMesh:
    """Nodes by name. ``nodes`` are those that run, and those that died since they were started last.

    ``calm``: nobody looks after links, which costs most of the time where hours pass.
    """

    def __init__(self, nursery: trio.Nursery, seed: int, calm: bool = True, **conditions: Any) -> None:
        self.calm = calm
        self.net = MemoryMesh(seed, **conditions)
        self.net.trace = self.trace = Trace()
        self.seed = seed
        self.rng = random.Random(f"{seed}/mesh")
        self.nodes: dict[str, Peer] = {}
        self._cut: set[tuple[PeerId, PeerId]] = set()
        self._places: dict[str, _Place] = {}
        self._nursery = nursery

    # -- who is there

    async def add(self, name: str, roles: str, engine: Engine | None = None, *, doors: bool = True, **overrides: Any) -> Peer:
        """A node with these roles ("worker archivist"); ``overrides`` are settings such as worker__max_queue=2. Without ``doors``
        it is linked to nobody."""
        given = {key.replace("__", "."): value for key, value in overrides.items()}
        settings = load_settings(overrides={"node.alias": name, "node.roles": roles.split(), **given})
        return await self._start(_Place(name, settings, engine, doors=doors))

    async def worker(self, name: str, seconds: float = 1.0, **overrides: Any) -> Peer:
        """``seconds``: what one picture takes."""
        return await self.add(name, "worker", FakeEngine(seconds_per_picture=seconds), **overrides)

    async def requester(self, name: str = "asker", **overrides: Any) -> Peer:
        return await self.add(name, "requester", **overrides)

    async def leave(self, name: str) -> None:
        """A node that stops as its owner asks it to."""
        await self._end(self._places[name])

    def running(self, name: str) -> bool:
        place = self._places[name]
        return not (place.dead or place.gone.is_set())

    # -- what happens to them

    async def kill(self, name: str) -> None:
        """Like kill -9, now. What was committed stays on its disk."""
        self._die(self._places[name], "killed")
        await self._end(self._places[name])

    def crash(self, name: str, writes: int = 1, *, after: bool = False) -> None:
        """Let it die at its ``writes``-th write to disk from now on: just before it, or just ``after`` it."""
        place = self._places[name]
        place.crash_in, place.crash_after = writes, after

    async def died(self, name: str) -> None:
        """Wait until it is gone, however it ends."""
        await self._places[name].gone.wait()

    async def restart(self, name: str, *, doors: bool = True) -> Peer:
        """Start a node that stopped or died, with the same disk; without ``doors`` it has to find others by itself."""
        place = self._places[name]
        await self._end(place)
        again = _Place(name, place.settings, place.engine, place.disk, place.lives)
        again.shelf, again.clock_ms, again.doors = place.shelf, place.clock_ms, doors
        return await self._start(again)

    def set_clock(self, name: str, ahead_s: float) -> None:
        """A node's clock is so far ahead from now on."""
        self._places[name].clock_ms = round(ahead_s * 1000)

    def backup(self, name: str) -> Disk:
        """What is on a node's disk now, to :meth:`restore` it from later."""
        return self._places[name].disk.copy()

    async def restore(self, name: str, backup: Disk) -> Peer:
        """Start a node that stopped or died, with an older disk."""
        self._places[name].disk = backup.copy()
        return await self.restart(name)

    def partition(self, *islands: Iterable[str]) -> None:
        """Only nodes of one island reach each other; those named in none form one more."""
        linked = {(net.peer_id, other) for net in self.net.nets.values() for other in net.linked()}
        self.net.partition([{PeerId(identity(name).peer_id) for name in island} for island in islands])
        self._cut |= {(one, other) for one, other in linked if one < other and not self.net.reachable(one, other)}
        self._note("partition", "")

    def heal(self) -> None:
        """Where nobody looks after links, those that the split has cut are made again."""
        self.net.heal()
        self._note("heal", "")
        cut, self._cut = sorted(self._cut), set()
        if self.calm:
            for one, other in cut:
                self._nursery.start_soon(self._link_again, one, other)

    async def _link_again(self, one: PeerId, other: PeerId) -> None:
        if {one, other} <= self.net.nets.keys():
            with suppress(NetError):
                await self.net.nets[one].connect(self.net.nets[other].addresses()[0])

    def digest(self) -> str:
        """Of everything that happened so far: the same seed and study give the same."""
        return self.trace.digest()

    # -- inside

    async def _start(self, place: _Place) -> Peer:
        self._places[place.name] = place
        place.disk.before_write = partial(self._writes, place, False)
        place.disk.after_write = partial(self._writes, place, True)
        await self._nursery.start(self._host, place)
        return self.nodes[place.name]

    async def _end(self, place: _Place) -> None:
        place.scope.cancel()
        await place.gone.wait()

    def _writes(self, place: _Place, done: bool) -> None:
        """The disk tells of a write that comes, or that is ``done``."""
        if place.dead:
            raise Crash(place.name)
        self._note("write" if done else "writing", place.name)
        if place.crash_in and done == place.crash_after:
            place.crash_in -= 1
            if not place.crash_in:
                self._die(place, "crashed")
                raise Crash(place.name)

    def _die(self, place: _Place, how: str) -> None:
        """At once: nothing that it does from here on reaches its disk or the net."""
        peer = PeerId(identity(place.name).peer_id)
        if not place.dead and not place.gone.is_set():
            self._note(how, place.name)
            place.dead = True
            if peer in self.net.nets:
                self.net.kill(peer)
            place.scope.cancel()

    def _note(self, kind: str, name: str) -> None:
        self.trace(Event(trio.current_time(), kind, PeerId(name), "", b""))

    async def _host(self, place: _Place, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        place.lives += 1
        self._note("start", place.name)
        try:
            with place.scope:
                await self._live(place, task_status)
        except* (Crash, LedgerError, NetError):
            if not place.dead:
                raise
        finally:
            place.gone.set()

    async def _live(self, place: _Place, task_status: trio.TaskStatus[None]) -> None:
        name, who = place.name, identity(place.name)

        def clock() -> int:
            return now_ms() + place.clock_ms

        rng = random.Random(f"{self.seed}/{name}/{place.lives}")
        async with (
            self.net.join(who, table=table_rules(clock)) as net,
            open_ledger(place.disk, who, NET, now_ms=clock, label=name) as ledger,
            trio.open_nursery() as nursery,
        ):
            around = Surroundings(lambda: frozenset(net.addresses()), place.shelf, self.calm)
            node = Peer(place.settings, who, net, ledger, place.engine, now_ms=clock, rng=rng, around=around)
            doors = [other.net.addresses()[0] for other in self.nodes.values() if other.peer_id != who.peer_id]
            rng.shuffle(doors)
            self.nodes[name] = node
            await nursery.start(node.run)
            if place.doors and doors and await _joined(node, doors[:MAX_DOORS]):
                await trio.sleep(LOOK_S * 2)
            task_status.started()
            await trio.sleep_forever()


async def _joined(node: Peer, doors: list[str]) -> bool:
    """Through the first door that opens."""
    for door in doors:
        try:
            await node.net.connect(door)
            return True
        except NetError:
            continue
    return False


@asynccontextmanager
async def virtual_mesh(seed: int = 1, **conditions: Any) -> AsyncIterator[VirtualMesh]:
    """A mesh inside a trio run that has a virtual clock. ``conditions`` are :class:`MemoryMesh`'s ``delay_s`` and ``loss``, and
    :class:`VirtualMesh`'s ``calm``."""
    with seeded(seed), single_errors():
        async with trio.open_nursery() as nursery:
            mesh = VirtualMesh(nursery, seed, **conditions)
            yield mesh
            nursery.cancel_scope.cancel()


def simulate(study: Callable[[VirtualMesh], Awaitable[T]], seed: int = 1, **conditions: Any) -> T:
    """Run ``study`` on an empty mesh in virtual time, outside of any trio run, and give what it returns."""

    async def run() -> T:
        async with virtual_mesh(seed, **conditions) as mesh:
            return await study(mesh)

    return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def pictures_of(node: Peer, prompt: str = "a prompt", **fields: Any) -> Job:
    """Ask for pictures (``fields`` of :class:`ImageRequest`) and wait for them."""
    assert node.requester is not None
    job = node.requester.submit(ImageRequest(prompt=prompt, **{"steps": 4, **fields}))
    await job.wait()
    return job


def net_mkudos(observer: Peer, of: Peer) -> int:
    """The balance of one node as another sees it."""
    return observer.ledger.balance(of.identity.public_key).net
