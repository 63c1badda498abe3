"""The deterministic twin of the real net: a whole mesh in one process, in virtual time, with delay, loss, partition and death.

Every delay and every loss is drawn from a hash of (seed, who, whom, which message), not from a shared generator: the order in
which trio happens to run its tasks changes nothing, so the same seed gives the same events at the same virtual times. (Events
of one and the same instant may be traced in either order.)

What it does not pretend: there is no routing, everybody who joined can reach everybody else in the same partition.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from meshgen.identity import Identity
from meshgen.net.guard import single_errors
from meshgen.net.memory_net import MemoryNet
from meshgen.net.port import PeerId, TableRules

__all__ = ["Event", "MemoryMesh", "MemoryNet"]

REPLICAS = 20
"""How many peers keep a table entry: those nearest to its key, as in Kademlia."""

ANY_VALUE = TableRules("meshgen", validator=lambda _key, _value: True, selector=lambda _key, _values: 0)


@dataclass(frozen=True, slots=True)
class Event:
    """What crossed the mesh. ``kind`` is gossip, message, value or provide; ``name`` is the topic, protocol or key.
    ``to``: whom a message is for."""

    at_s: float
    kind: str
    peer: PeerId
    name: str
    data: bytes
    to: str = ""


class MemoryMesh:
    """A mesh to join. ``delay_s`` is the range of each hop's latency; ``loss`` the chance that one receiver misses a gossip."""

    def __init__(self, seed: int = 0, delay_s: tuple[float, float] = (0.001, 0.02), loss: float = 0.0) -> None:
        self.seed = seed
        self.delay_s = delay_s
        self.loss = loss
        self.trace: Callable[[Event], None] | None = None
        self.counters: Counter[str] = Counter()
        self.nets: dict[PeerId, MemoryNet] = {}
        self._islands: list[frozenset[PeerId]] = []

    @asynccontextmanager
    async def join(self, identity: Identity, *, table: TableRules = ANY_VALUE) -> AsyncIterator[MemoryNet]:
        """A net for this identity. Leaving is a clean departure; the same identity may join again."""
        peer = PeerId(identity.peer_id)
        if peer in self.nets:
            raise ValueError(f"{peer} is in the mesh already")
        with single_errors():
            async with trio.open_nursery() as nursery:
                tasks = await nursery.start(_hold_nursery)
                self.nets[peer] = net = MemoryNet(self, peer, table, tasks)
                try:
                    yield net
                finally:
                    self._remove(net, "left the mesh")
                    nursery.cancel_scope.cancel()

    # -- faults
    def partition(self, islands: Iterable[Iterable[PeerId]], *, silent: bool = False) -> None:
        """Only peers of one island reach each other; who is named in none forms an island of the unnamed.

        ``silent``: as when a cable is cut far away, links and channels stay, and nothing comes out of them any more.
        """
        self._islands = [frozenset(island) for island in islands]
        for net in self.nets.values():
            for peer in [peer for peer in net.linked() if self._cut_off(net.peer_id, peer)]:
                if silent:
                    net.hang(peer)
                else:
                    net.unlink(peer)
            if not silent:
                net.cut(self._cut_off, "the network is partitioned")

    def heal(self) -> None:
        self._islands = []

    def kill(self, peer: PeerId) -> None:
        """Abrupt death: handlers are cancelled, the peer's channels fail on both sides, its own calls raise Unreachable."""
        self._remove(self.nets[peer], "died")

    def stall(self, peer: PeerId) -> None:
        """Like SIGSTOP: the peer stays connected and says nothing; what it is told waits until :meth:`resume`."""
        self.nets[peer].awake = trio.Event()

    def resume(self, peer: PeerId) -> None:
        self.nets[peer].awake.set()

    def move(self, peer: PeerId) -> None:
        """The peer has another address from now on. Its links and channels stay, on both sides, and nothing comes out of them."""
        self.nets[peer].moves += 1
        for net in self.nets.values():
            for other in net.linked():
                if peer in (net.peer_id, other):
                    net.hang(other)

    def _remove(self, net: MemoryNet, why: str) -> None:
        if self.nets.get(net.peer_id) is net:
            del self.nets[net.peer_id]
        net.stop(f"{net.peer_id} {why}")

    # -- what the nets ask
    def _cut_off(self, a: PeerId, b: PeerId) -> bool:
        return not self.reachable(a, b)

    def reachable(self, a: PeerId, b: PeerId) -> bool:
        return not self._islands or self._island(a) == self._island(b)

    def _island(self, peer: PeerId) -> int:
        return next((n for n, island in enumerate(self._islands) if peer in island), -1)

    def chance(self, *what: object) -> float:
        """A number in [0, 1) that depends on the seed and on ``what`` alone."""
        text = "|".join(map(str, (self.seed, *what)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest()) / 2**56

    def delay(self, *what: object) -> float:
        low, high = self.delay_s
        return low + (high - low) * self.chance("delay", *what)

    def note(self, kind: str, peer: PeerId, name: str, data: bytes = b"", to: str = "") -> None:
        self.counters[kind] += 1
        if self.trace is not None:
            self.trace(Event(trio.current_time(), kind, peer, name, data, to))

    def nearest(self, key: str, asker: PeerId) -> list[MemoryNet]:
        """The replicas of a key that the asker can reach, nearest first."""
        there = [net for net in self.nets.values() if self.reachable(asker, net.peer_id) and net.awake.is_set()]
        return sorted(there, key=lambda net: _distance(key, net.peer_id))[:REPLICAS]


async def _hold_nursery(task_status: Any) -> None:
    """A nursery of its own for a peer's tasks, so that killing the peer doesn't cancel whoever wrote ``async with join``."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


def _distance(key: str, peer: PeerId) -> int:
    one, other = (int.from_bytes(hashlib.sha256(text.encode()).digest()) for text in (key, peer))
    return one ^ other
