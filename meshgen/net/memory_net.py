"""One peer's end of the in-memory mesh: links, channels, topics, and its share of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from meshgen.net.conduct import Conduct, Fault
from meshgen.net.guard import (
    DIAL_TIMEOUT_S,
    GOSSIP_QUEUE,
    accepts,
    check_gossip,
    check_key,
    check_value,
    is_valid,
    report_handler,
)
from meshgen.net.mailbox import Mailbox
from meshgen.net.memory_channel import MemoryChannel, Pipe
from meshgen.net.port import Channel, ChannelHandler, Gossip, GossipValidator, PeerId, PeerLink, Reach, TableRules, Unreachable

if TYPE_CHECKING:
    from meshgen.net.memory import MemoryMesh


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
        self.moves = 0
        self._hung: set[PeerId] = set()  # linked, over a connection that leads nowhere

    @property
    def peer_id(self) -> PeerId:
        return self._peer_id

    @property
    def _place(self) -> str:
        return f"{self._peer_id}{f'-{self.moves}' if self.moves else ''}"

    def addresses(self) -> list[str]:
        return [f"/memory/{self._place}/p2p/{self._peer_id}"]

    # -- connections
    async def connect(self, address: str) -> PeerId:
        parts = address.split("/")
        if len(parts) != 5 or parts[:2] != ["", "memory"] or parts[3] != "p2p":
            raise ValueError(f"{address!r} is no address of a peer; one looks like /memory/<peer id>/p2p/<peer id>")
        peer = PeerId(parts[4])
        other = self._mesh.nets.get(peer)
        if peer not in self._links and other is not None and other._place != parts[2]:
            await trio.sleep(self._mesh.delay(self._peer_id, peer))
            raise Unreachable(f"{peer} can't be dialled there: nobody answers")
        await self._reach(peer)
        return peer

    def links(self) -> list[PeerLink]:
        alive = self._mesh.nets
        return [link for peer, link in self._links.items() if peer in alive]

    def reach(self) -> Reach:
        return Reach("public")

    def consult(self, book: Callable[[PeerId], Sequence[str]]) -> None:
        """Everybody is known here."""

    def watch_reach(self, changed: Callable[[], None]) -> None:
        """Nothing ever changes here."""

    def relay_among(self, served: Callable[[PeerId], bool], may_carry: Callable[[PeerId], bool]) -> None:
        """Nobody needs a relay here."""

    def relayed(self) -> int:
        return 0

    def dialled_through(self) -> Mapping[PeerId, int]:
        return {}

    def carried(self) -> int:
        return 0

    async def drop(self, peer: PeerId, for_s: float = 0.0) -> None:
        await trio.lowlevel.checkpoint()
        self.conduct.shut(peer, for_s)
        self._hang_up(peer)

    def pardon(self, peer: PeerId) -> None:
        self.conduct.pardon(peer)

    def thank(self, peer: PeerId, points: float = 1.0) -> None:
        self.conduct.thank(peer, points)

    def blame(self, peer: PeerId, points: float) -> None:
        if self.conduct.blame(peer, points):
            self._hang_up(peer)

    def _hang_up(self, peer: PeerId) -> None:
        """The other side is told, unless that leads nowhere."""
        told = peer not in self._hung and self._mesh.nets.get(peer)
        self.unlink(peer)
        self.cut(lambda _me, other: other == peer, f"{self._peer_id} hung up")
        if told:
            told.unlink(self._peer_id)
            told.cut(lambda _other, me: me == self._peer_id, f"{self._peer_id} hung up")

    def linked(self) -> list[PeerId]:
        return list(self._links)

    def unlink(self, peer: PeerId) -> None:
        self._links.pop(peer, None)
        self._hung.discard(peer)

    def hang(self, peer: PeerId) -> None:
        """The link to the peer stays, and nothing comes out of it any more."""
        self._hung.add(peer)
        for channel in self._channels:
            if channel.peer == peer:
                channel.hang()

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
        if not self._mesh.reachable(self._peer_id, peer) or peer in self._hung:
            await trio.sleep_forever()  # packets are lost on their way: the dial runs into its timeout
        await other.awake.wait()
        if peer not in self._links:
            await trio.sleep(self._mesh.delay(self._peer_id, peer))
            self._links[peer] = PeerLink(peer, other.addresses()[0], outbound=True)
            other._hung.discard(self._peer_id)
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
        verdict = accepts(validator, message)
        if verdict:
            self._mesh.counters["gossip heard"] += 1
            mailbox.put(message)
            return
        self._mesh.counters["gossip refused"] += 1
        if verdict is False:
            self.blame(message.sender, Fault.JUNK)

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
