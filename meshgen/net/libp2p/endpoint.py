"""The real net: py-libp2p behind :class:`meshgen.net.port.Net`.

TCP, Noise and Yamux only; GossipSub 1.1 with strict signing; Kademlia as a server. The siblings hold one part each,
with the cures for what was found in py-libp2p 0.8; this file puts them together.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import trio
from libp2p.connection_types import ConnectionType
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from meshgen.identity import Identity
from meshgen.net.conduct import Fault
from meshgen.net.guard import DIAL_TIMEOUT_S, check_gossip, single_errors
from meshgen.net.libp2p.channel import IdleWires, StreamChannel, serve_stream
from meshgen.net.libp2p.dial import parse_address
from meshgen.net.libp2p.door import Door
from meshgen.net.libp2p.gossip import MeshGossip, MeshPubsub
from meshgen.net.libp2p.host import DEFAULT_LIMITS, Limits, make_host, parse_listen, quieten
from meshgen.net.libp2p.keeping import guard_table
from meshgen.net.libp2p.mdns import meet_neighbours
from meshgen.net.libp2p.punch_port import leave_by_one_port
from meshgen.net.libp2p.reach import is_direct
from meshgen.net.libp2p.reach_ways import Ways
from meshgen.net.libp2p.relay_switch import RelayLimits
from meshgen.net.libp2p.table import Table, make_dht
from meshgen.net.libp2p.wire import Wire
from meshgen.net.port import (
    Channel,
    ChannelHandler,
    Gossip,
    GossipValidator,
    NetError,
    PeerId,
    PeerLink,
    Reach,
    TableRules,
    Unreachable,
)

__all__ = ["Libp2pNet", "Limits", "RelayLimits", "open_libp2p"]

SWEEP_INTERVAL_S = 20.0
GOODBYE_S = 2.0


@asynccontextmanager
async def open_libp2p(
    identity: Identity,
    listen: Sequence[str],
    bootstrap: Sequence[str] = (),
    *,
    table: TableRules,
    mdns: str = "",
    announce: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
    psk: bytes | None = None,
    relay: RelayLimits | None = None,
    upnp: bool = False,
) -> AsyncIterator[Libp2pNet]:
    """A started net. ``listen`` and ``bootstrap`` are multiaddrs (``/ip4/0.0.0.0/tcp/4001``); ``announce`` replaces what others
    are told to dial, for a node behind a forwarded port. ``mdns`` is what neighbours of one mesh call it by, see
    :func:`meshgen.protocols.invite.neighbours_tag`; "" = none are looked for. ``psk`` are a private mesh's 32 bytes.
    ``relay`` is what it carries for peers that others can't dial, None = nothing. ``upnp``: behind a home router, have it
    forward the port.

    Returns once it listens; bootstrap peers are dialled in the background, and again whenever they are lost.
    Raises ValueError for a malformed address, NetError when an address can't be listened on.
    """
    doors: dict[ID, list[Multiaddr]] = {}
    for peer, way in map(parse_address, bootstrap):
        doors.setdefault(peer, []).append(way)
    listen_on = [parse_listen(address) for address in listen]
    quieten()
    host = make_host(identity, listen_on, announce, limits, psk)
    with single_errors():
        async with trio.open_nursery() as nursery:
            net = await nursery.start(_run_stack, host, listen_on, table, limits, list(doors), relay, upnp)
            for peer, ways in doors.items():
                nursery.start_soon(net.dialer.keep, peer, ways)
            if mdns:
                nursery.start_soon(meet_neighbours, mdns, net.addresses, net.dialer.reach)
            try:
                yield net
            finally:
                net.leaving.set()
                nursery.cancel_scope.cancel()


async def _run_stack(
    host: Any,
    listen_on: list[Multiaddr],
    rules: TableRules,
    limits: Limits,
    doors: list[ID],
    relay: RelayLimits | None,
    upnp: bool,
    task_status: Any,
) -> None:
    """libp2p's services and their tasks, shielded: cancelled along with their user, they would not close their sockets."""
    dht = make_dht(host, rules)
    door = Door(host.get_network(), limits.connections)
    pubsub = MeshPubsub(host, MeshGossip(), door.conduct, door.blame)
    with trio.CancelScope(shield=True) as scope:
        async with AsyncExitStack() as services:
            services.enter_context(leave_by_one_port(host))
            await services.enter_async_context(host.run(listen_on))
            for service in (dht, pubsub.router, pubsub):
                await services.enter_async_context(background_trio_service(service))
            await pubsub.wait_until_ready()
            if len(host.get_network().listeners) < len(listen_on):
                raise NetError(f"can't listen on {', '.join(map(str, listen_on))}")
            table = Table(dht, rules)
            ways = Ways(host, dht, pubsub, table, doors, relay, upnp)
            net = Libp2pNet(host, dht, pubsub, door, table, ways, limits)
            task_status.started(net)
            await net.run()
            scope.deadline = trio.current_time() + GOODBYE_S
            await net.hang_up()


class Libp2pNet:
    """See :class:`meshgen.net.port.Net`."""

    def __init__(self, host: Any, dht: Any, pubsub: MeshPubsub, door: Door, table: Table, ways: Ways, limits: Limits) -> None:
        self._host = host
        self._swarm = host.get_network()
        self._dht = dht
        self._pubsub = pubsub
        self._limits = limits
        self._table = table
        self._ways = ways
        self._idle = IdleWires(limits.idle_streams)
        ways.direct.leave_relay = self._idle.leave_relay
        self._serving: Counter[PeerId] = Counter()
        self._protocols: set[str] = set()
        self._door = door
        guard_table(dht, host, door.blame)
        self.conduct = door.conduct
        self.leaving = trio.Event()
        self.dialer = ways.dialer

    @property
    def peer_id(self) -> PeerId:
        return PeerId(str(self._host.get_id()))

    def addresses(self) -> list[str]:
        return [str(address) for address in self._host.get_addrs()]

    # -- connections
    async def connect(self, address: str) -> PeerId:
        self._check_welcome(parse_address(address)[0])
        return await self.dialer.connect(address)

    def links(self) -> list[PeerLink]:
        alive = [each for each in self._swarm.get_connections() if not each.is_closed]
        best = {each.muxed_conn.peer_id: each for each in sorted(alive, key=is_direct)}  # the last one counts
        return [_link(connection) for connection in best.values()]

    def reach(self) -> Reach:
        return self._ways.reach()

    def consult(self, book: Callable[[PeerId], Sequence[str]]) -> None:
        self.dialer.book = book

    def watch_reach(self, changed: Callable[[], None]) -> None:
        self._ways.watch(changed)

    def relay_among(self, served: Callable[[PeerId], bool], may_carry: Callable[[PeerId], bool]) -> None:
        self._ways.relays_for, self._ways.may_carry = served, may_carry
        self._ways.relays.forgive()

    def relayed(self) -> int:
        return self._ways.relayed()

    def dialled_through(self) -> Mapping[PeerId, int]:
        return self._ways.dialled_through()

    def carried(self) -> int:
        return self._ways.carried()

    async def drop(self, peer: PeerId, for_s: float = 0.0) -> None:
        self.conduct.shut(peer, for_s)
        await self._hang_up_on(peer)

    def pardon(self, peer: PeerId) -> None:
        self.conduct.pardon(peer)

    def blame(self, peer: PeerId, points: float) -> None:
        self._door.blame(peer, points)

    def thank(self, peer: PeerId, points: float = 1.0) -> None:
        self.conduct.thank(peer, points)

    async def _hang_up_on(self, peer: PeerId) -> None:
        await self._idle.drop(peer)
        with suppress(SwarmException, IOException, NetError):
            await self._swarm.close_peer(_peer(peer))

    # -- channels
    def serve(self, protocol: str, handler: ChannelHandler) -> None:
        if protocol in self._protocols:
            raise ValueError(f"{protocol} is served already")
        self._protocols.add(protocol)
        self._host.set_stream_handler(protocol, partial(self._serve_stream, protocol, handler))

    async def _serve_stream(self, protocol: str, handler: ChannelHandler, stream: Any) -> None:
        peer = PeerId(str(stream.muxed_conn.peer_id))
        if self._serving[peer] >= self._limits.streams_per_peer:
            self.blame(peer, Fault.REFUSED)
            await stream.reset()
            return
        self._serving[peer] += 1
        try:
            await serve_stream(peer, protocol, Wire(stream), handler)
        finally:
            self._serving[peer] -= 1
            if not self._serving[peer]:
                del self._serving[peer]

    @asynccontextmanager
    async def open(self, peer: PeerId, protocol: str) -> AsyncIterator[Channel]:
        fresh = partial(self._fresh_wire, peer, protocol)
        kept = await self._kept_wire(peer, protocol)
        channel = StreamChannel(peer, kept or await fresh(), fresh if kept else None)
        try:
            yield channel
            await channel.end()
        except BaseException:
            await channel.wire.reset()
            raise
        await self._idle.keep(peer, protocol, channel.wire)

    async def _kept_wire(self, peer: PeerId, protocol: str) -> Wire | None:
        """One on a direct connection if there is such a connection: those on a relayed one are let go then."""
        while (wire := await self._idle.take(peer, protocol)) is not None:
            if not wire.relayed or not any(map(is_direct, self._swarm.get_connections(_peer(peer)))):
                return wire
            await wire.close()
        return None

    async def _fresh_wire(self, peer: PeerId, protocol: str) -> Wire:
        target = _peer(peer)
        try:
            return await self._new_wire(target, protocol)
        except (SwarmException, IOException):  # a connection that broke before its reader noticed: hang up, dial anew
            with suppress(SwarmException, IOException):
                await self._swarm.close_peer(target)
        try:
            return await self._new_wire(target, protocol)
        except (SwarmException, IOException) as error:
            raise Unreachable(f"{peer} went away") from error

    async def _new_wire(self, target: ID, protocol: str) -> Wire:
        """Raises Unreachable, or the library's errors for a connection that is gone."""
        self._check_welcome(target)
        await self.dialer.reach(target)
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                return Wire(await self._host.new_stream(target, [protocol]))
        except trio.TooSlowError as error:
            raise Unreachable(f"{target} does not answer") from error
        except StreamFailure as error:
            raise Unreachable(f"{target} does not serve {protocol}, or went away") from error

    def _check_welcome(self, target: ID) -> None:
        if self.conduct.is_shut(PeerId(str(target))):
            raise Unreachable(f"{target} is kept out by this node")

    # -- topics
    def subscribe(self, topic: str, validator: GossipValidator) -> AbstractAsyncContextManager[AsyncIterator[Gossip]]:
        return self._pubsub.listening(topic, validator)

    async def publish(self, topic: str, data: bytes) -> None:
        check_gossip(data)
        await self._pubsub.publish(topic, data)

    # -- the directory table
    async def provide(self, key: str) -> None:
        await self._table.provide(key)

    async def find_providers(self, key: str, limit: int = 20) -> list[PeerId]:
        return await self._table.find_providers(key, limit)

    async def put_value(self, key: str, value: bytes) -> None:
        await self._table.put_value(key, value)

    async def get_value(self, key: str) -> bytes | None:
        return await self._table.get_value(key)

    # -- in the background
    async def run(self) -> None:
        """Until it is time to leave: look around in the routing table after each new connection; sweep what is old."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_around)
            nursery.start_soon(self._sweep)
            nursery.start_soon(self._ways.run)
            nursery.start_soon(self._cut_off)
            await self.leaving.wait()
            nursery.cancel_scope.cancel()

    async def _look_around(self) -> None:
        while True:
            await self.dialer.joined.wait()
            self.dialer.joined = trio.Event()
            await self._dht.refresh_routing_table()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            await self._idle.sweep()
            self._table.sweep(time.time())
            self._door.sweep()

    async def _cut_off(self) -> None:
        """Each by itself: who does not read holds up its own end alone."""
        async with trio.open_nursery() as nursery:
            async for peer in self._door.doomed:
                nursery.start_soon(self._hang_up_on, peer)

    async def hang_up(self) -> None:
        """Close connections and listeners. libp2p would too, but in tasks that are cancelled by then, and so leave them open."""
        async with trio.open_nursery() as nursery:
            for listener in list(self._swarm.listeners.values()):
                nursery.start_soon(listener.close)
            for connection in self._swarm.get_connections():
                nursery.start_soon(connection.close)


def _link(connection: Any) -> PeerLink:
    addresses = connection.get_transport_addresses()
    return PeerLink(
        peer=PeerId(str(connection.muxed_conn.peer_id)),
        address=str(addresses[0]) if addresses else "",
        outbound=connection.direction is Direction.OUTBOUND,
        relayed=connection.get_connection_type() is ConnectionType.RELAYED,
        heard_s=getattr(connection.muxed_conn, "heard_s", None),
    )


def _peer(peer: PeerId) -> ID:
    try:
        return ID.from_base58(peer)
    except ValueError as error:
        raise Unreachable(f"{peer!r} is no peer id") from error
