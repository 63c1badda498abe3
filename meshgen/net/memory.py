"""The deterministic twin of the real net: a whole mesh in one process, in virtual time, with delay, loss, partition and death.

Every delay and every loss is drawn from a hash of (seed, who, whom, which message), not from a shared generator: the order in
which trio happens to run its tasks changes nothing, so the same seed gives the same events at the same virtual times. (Events
of one and the same instant may be traced in either order.)

What it does not pretend: there is no routing, everybody who joined can reach everybody else in the same partition.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from meshgen.identity import Identity
from meshgen.net.conduct import Conduct
from meshgen.net.guard import (
    DIAL_TIMEOUT_S,
    GOSSIP_QUEUE,
    accepts,
    check_gossip,
    check_key,
    check_value,
    is_valid,
    report_handler,
    single_errors,
)
from meshgen.net.mailbox import Mailbox
from meshgen.net.memory_channel import MemoryChannel, Pipe
from meshgen.net.port import Channel, ChannelHandler, Gossip, GossipValidator, PeerId, PeerLink, Reach, TableRules, Unreachable

REPLICAS = 20
"""How many peers keep a table entry: those nearest to its key, as in Kademlia."""

ANY_VALUE = TableRules("meshgen", validator=lambda _key, _value: True, selector=lambda _key, _values: 0)


@dataclass(frozen=True, slots=True)
class Event:
    """What crossed the mesh. ``kind`` is gossip, message, value or provide; ``name`` is the topic, protocol or key."""

    at_s: float
    kind: str
    peer: PeerId
    name: str
    data: bytes


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
    def partition(self, islands: Iterable[Iterable[PeerId]]) -> None:
        """Only peers of one island reach each other; who is named in none forms an island of the unnamed."""
        self._islands = [frozenset(island) for island in islands]
        for net in self.nets.values():
            net.cut(lambda a, b: not self.reachable(a, b), "the network is partitioned")

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

    def _remove(self, net: MemoryNet, why: str) -> None:
        if self.nets.get(net.peer_id) is net:
            del self.nets[net.peer_id]
        net.stop(f"{net.peer_id} {why}")

    # -- what the nets ask
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

    def note(self, kind: str, peer: PeerId, name: str, data: bytes = b"") -> None:
        self.counters[kind] += 1
        if self.trace is not None:
            self.trace(Event(trio.current_time(), kind, peer, name, data))

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


class MemoryNet:
    """One peer's end of a :class:`MemoryMesh`; see :class:`meshgen.net.port.Net`."""

    def __init__(self, mesh: MemoryMesh, peer_id: PeerId, table: TableRules, tasks: trio.Nursery) -> None:
        self._mesh = mesh
        self._peer_id = peer_id
        self._rules = table
        self._tasks = tasks
        self._handlers: dict[str, ChannelHandler] = {}
        self._topics: dict[str, tuple[GossipValidator, Mailbox[Gossip]]] = {}
        self._links: dict[PeerId, PeerLink] = {}
        self._channels: dict[MemoryChannel, None] = {}  # an ordered set
        self._numbers: Counter[str] = Counter()
        self._stopped: str | None = None
        self.conduct = Conduct(trio.current_time)
        self.values: dict[str, bytes] = {}
        self.providers: dict[str, dict[PeerId, None]] = {}  # an ordered set
        self.awake = trio.Event()
        self.awake.set()

    @property
    def peer_id(self) -> PeerId:
        return self._peer_id

    def addresses(self) -> list[str]:
        return [f"/memory/{self._peer_id}/p2p/{self._peer_id}"]

    # -- connections
    async def connect(self, address: str) -> PeerId:
        parts = address.split("/")
        if len(parts) != 5 or parts[:2] != ["", "memory"] or parts[3] != "p2p":
            raise ValueError(f"{address!r} is no address of a peer; one looks like /memory/<peer id>/p2p/<peer id>")
        peer = PeerId(parts[4])
        await self._reach(peer)
        return peer

    def links(self) -> list[PeerLink]:
        alive = self._mesh.nets
        return [link for peer, link in self._links.items() if peer in alive and self._mesh.reachable(self._peer_id, peer)]

    def reach(self) -> Reach:
        return Reach("public")

    def watch_reach(self, changed: Callable[[], None]) -> None:
        """Nothing ever changes here."""

    def relayed(self) -> Mapping[PeerId, int]:
        return {}

    def carried(self) -> int:
        return 0

    async def drop(self, peer: PeerId, for_s: float = 0.0) -> None:
        await trio.lowlevel.checkpoint()
        self.conduct.shut(peer, for_s)
        self._hang_up(peer)

    def blame(self, peer: PeerId, points: float) -> None:
        if self.conduct.blame(peer, points):
            self._hang_up(peer)

    def _hang_up(self, peer: PeerId) -> None:
        self._links.pop(peer, None)
        self.cut(lambda _me, other: other == peer, f"{self._peer_id} hung up")
        if other := self._mesh.nets.get(peer):
            other._links.pop(self._peer_id, None)
            other.cut(lambda _other, me: me == self._peer_id, f"{self._peer_id} hung up")

    async def _reach(self, peer: PeerId) -> MemoryNet:
        """The other's net, after the time that a dial takes. Raises Unreachable."""
        await self._ready()
        if peer == self._peer_id:
            raise Unreachable("a peer can't dial itself")
        if self.conduct.is_shut(peer):
            raise Unreachable(f"{peer} is kept out by this node")
        other = self._mesh.nets.get(peer)
        if other is None:
            await trio.sleep(self._mesh.delay(self._peer_id, peer))
            raise Unreachable(f"{peer} can't be dialled: nobody answers")
        if other.conduct.is_shut(self._peer_id):
            await trio.sleep(self._mesh.delay(self._peer_id, peer))
            raise Unreachable(f"{peer} hung up")
        with trio.move_on_after(DIAL_TIMEOUT_S):
            await self._handshake(other)
            return other
        raise Unreachable(f"{peer} can't be dialled: no answer within {DIAL_TIMEOUT_S:g} s")

    async def _handshake(self, other: MemoryNet) -> None:
        peer = other.peer_id
        if not self._mesh.reachable(self._peer_id, peer):
            await trio.sleep_forever()  # a partition drops packets: the dial runs into its timeout
        await other.awake.wait()
        if peer not in self._links:
            await trio.sleep(self._mesh.delay(self._peer_id, peer))
            self._links[peer] = PeerLink(peer, other.addresses()[0], outbound=True)
            other._links.setdefault(self._peer_id, PeerLink(self._peer_id, self.addresses()[0], outbound=False))

    async def _ready(self) -> None:
        """Wait while stalled; raise Unreachable when dead."""
        await self.awake.wait()
        if self._stopped:
            raise Unreachable(self._stopped)

    # -- channels
    def serve(self, protocol: str, handler: ChannelHandler) -> None:
        if protocol in self._handlers:
            raise ValueError(f"{protocol} is served already")
        self._handlers[protocol] = handler

    @asynccontextmanager
    async def open(self, peer: PeerId, protocol: str) -> AsyncIterator[Channel]:
        other = await self._reach(peer)
        if other._stopped:  # while it was dialled
            raise Unreachable(other._stopped)
        if protocol not in other._handlers:
            raise Unreachable(f"{peer} does not serve {protocol}")
        near, far = self._channel_pair(other, protocol)
        other._tasks.start_soon(other._serve_channel, far)
        try:
            yield near
        except BaseException:
            near.close(clean=False)
            raise
        near.close(clean=True)

    def _channel_pair(self, other: MemoryNet, protocol: str) -> tuple[MemoryChannel, MemoryChannel]:
        number = self._number("channel")
        forth, back = Pipe(), Pipe()
        near = MemoryChannel(self, other.peer_id, protocol, number, inbound=back, outbound=forth)
        far = MemoryChannel(other, self._peer_id, protocol, number, inbound=forth, outbound=back)
        self._channels[near] = None
        other._channels[far] = None
        return near, far

    async def _serve_channel(self, channel: MemoryChannel) -> None:
        clean = False
        try:
            await self._handlers[channel.protocol](channel)
            clean = True
        except Exception as error:  # noqa: BLE001 - a handler's fault is its channel's alone
            report_handler(channel.protocol, error)
        finally:
            channel.close(clean=clean)

    def forget(self, channel: MemoryChannel) -> None:
        self._channels.pop(channel, None)

    def cut(self, applies: Callable[[PeerId, PeerId], bool], why: str) -> None:
        for channel in [channel for channel in self._channels if applies(self._peer_id, channel.peer)]:
            channel.fail(why)

    def stop(self, why: str) -> None:
        self._stopped = why
        self.cut(lambda _a, _b: True, why)
        self._tasks.cancel_scope.cancel()

    # -- topics
    @asynccontextmanager
    async def subscribe(self, topic: str, validator: GossipValidator) -> AsyncIterator[AsyncIterator[Gossip]]:
        if topic in self._topics:
            raise ValueError(f"{topic} is subscribed to already")
        await self._ready()
        mailbox = Mailbox[Gossip](GOSSIP_QUEUE)
        self._topics[topic] = validator, mailbox
        try:
            yield mailbox
        finally:
            del self._topics[topic]

    async def publish(self, topic: str, data: bytes) -> None:
        check_gossip(data)
        await self._ready()
        number = self._number(topic)
        self._mesh.note("gossip", self._peer_id, topic, data)
        for other in [net for net in self._mesh.nets.values() if net is not self and topic in net._topics]:
            self._pass_on(other, Gossip(topic, self._peer_id, data), number)

    def _pass_on(self, other: MemoryNet, message: Gossip, number: int) -> None:
        draw = message.topic, self._peer_id, other.peer_id, number
        if not self._mesh.reachable(self._peer_id, other.peer_id) or self._mesh.chance("loss", *draw) < self._mesh.loss:
            self._mesh.counters["gossip lost"] += 1
        else:
            other._tasks.start_soon(other._hear, message, self._mesh.delay(*draw))

    async def _hear(self, message: Gossip, delay_s: float) -> None:
        await trio.sleep(delay_s)
        await self.awake.wait()
        if message.topic not in self._topics or self.conduct.is_shut(message.sender):
            return
        validator, mailbox = self._topics[message.topic]
        if accepts(validator, message):
            self._mesh.counters["gossip heard"] += 1
            mailbox.put(message)
        else:
            self._mesh.counters["gossip refused"] += 1

    # -- the directory table
    async def provide(self, key: str) -> None:
        check_key(key)
        await self._lookup(key)
        self._mesh.note("provide", self._peer_id, key)
        for net in self._mesh.nearest(key, self._peer_id):
            net.providers.setdefault(key, {})[self._peer_id] = None

    async def find_providers(self, key: str, limit: int = 20) -> list[PeerId]:
        check_key(key)
        await self._lookup(key)
        found: dict[PeerId, None] = {}
        for net in self._mesh.nearest(key, self._peer_id):
            found |= net.providers.get(key, {})
        found.pop(self._peer_id, None)
        return list(found)[:limit]

    async def put_value(self, key: str, value: bytes) -> None:
        check_value(self._rules, key, value)
        known = self.values.get(key, value)
        if known != value and self._rules.selector(key, [value, known]) != 0:
            raise ValueError(f"an older value would replace a newer one under {key!r}")
        await self._lookup(key)
        self._mesh.note("value", self._peer_id, key, value)
        for net in self._mesh.nearest(key, self._peer_id):
            net._store(key, value)

    async def get_value(self, key: str) -> bytes | None:
        check_key(key)
        await self._lookup(key)
        known = [net.values[key] for net in self._mesh.nearest(key, self._peer_id) if key in net.values]
        valid = [value for value in known if is_valid(self._rules, key, value)]
        return valid[self._rules.selector(key, valid)] if valid else None

    def _store(self, key: str, value: bytes) -> None:
        if is_valid(self._rules, key, value):
            both = [self.values[key], value] if key in self.values else [value]
            self.values[key] = both[self._rules.selector(key, both)]

    async def _lookup(self, key: str) -> None:
        await self._ready()
        await trio.sleep(2 * self._mesh.delay(self._peer_id, key, self._number("lookup")))

    def _number(self, what: str) -> int:
        self._numbers[what] += 1
        return self._numbers[what]
