"""The real net: py-libp2p behind :class:`meshgen.net.port.Net`.

TCP, Noise and Yamux only; GossipSub 1.1 with strict signing; Kademlia as a server. The siblings ``libp2p_*`` hold one part each,
with the cures for what was found in py-libp2p 0.8; this file puts them together.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from libp2p import new_host
from libp2p.connection_types import ConnectionType
from libp2p.crypto.ed25519 import create_new_key_pair as ed25519_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_key_pair
from libp2p.discovery.events.peerDiscovery import peerDiscovery
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from libp2p.rcmgr.manager import new_resource_manager
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.tools.anyio_service import background_trio_service
from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr

from meshgen.identity import Identity
from meshgen.net.guard import DIAL_TIMEOUT_S, check_gossip, single_errors
from meshgen.net.libp2p_channel import IdleWires, StreamChannel, serve_stream
from meshgen.net.libp2p_dial import Dialer, parse_address
from meshgen.net.libp2p_gossip import MeshGossip, MeshPubsub
from meshgen.net.libp2p_table import Table, make_dht
from meshgen.net.libp2p_wire import Wire
from meshgen.net.libp2p_yamux import MeshMuxer, MeshYamux
from meshgen.net.port import Channel, ChannelHandler, Gossip, GossipValidator, NetError, PeerId, PeerLink, TableRules, Unreachable

HANDSHAKE_TIMEOUT_S = 10
SWEEP_INTERVAL_S = 20.0
GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one node takes on."""

    connections: int = 300
    streams_per_peer: int = 128
    """Streams that one peer may have open for our protocols at a time; more are refused."""
    idle_streams: int = 256


@asynccontextmanager
async def open_libp2p(
    identity: Identity,
    listen: Sequence[str],
    bootstrap: Sequence[str] = (),
    *,
    table: TableRules,
    mdns: bool = False,
    announce: Sequence[str] = (),
    limits: Limits = Limits(),
) -> AsyncIterator[Libp2pNet]:
    """A started net. ``listen`` and ``bootstrap`` are multiaddrs (``/ip4/0.0.0.0/tcp/4001``); ``announce`` replaces what others
    are told to dial, for a node behind a forwarded port.

    Returns once it listens; bootstrap peers are dialled in the background, and again whenever they are lost.
    Raises ValueError for a malformed address, NetError when an address can't be listened on.
    """
    for address in bootstrap:
        parse_address(address)
    listen_on = [_parse_listen(address) for address in listen]
    _quieten()
    host = _make_host(identity, listen_on, announce, mdns, limits)
    with single_errors():
        async with trio.open_nursery() as nursery:
            net = await nursery.start(_run_stack, host, listen_on, table, limits)
            for address in bootstrap:
                nursery.start_soon(net.dialer.keep, address)
            if mdns:
                nursery.start_soon(net.meet_neighbours)
            try:
                yield net
            finally:
                net.leaving.set()
                nursery.cancel_scope.cancel()


async def _run_stack(host: Any, listen_on: list[Multiaddr], table: TableRules, limits: Limits, task_status: Any) -> None:
    """libp2p's services and their tasks, shielded: cancelled along with their user, they would not close their sockets."""
    dht = make_dht(host, table)
    pubsub = MeshPubsub(host, MeshGossip())
    with trio.CancelScope(shield=True) as scope:
        async with AsyncExitStack() as services:
            await services.enter_async_context(host.run(listen_on))
            for service in (dht, pubsub.router, pubsub):
                await services.enter_async_context(background_trio_service(service))
            await pubsub.wait_until_ready()
            if len(host.get_network().listeners) < len(listen_on):
                raise NetError(f"can't listen on {', '.join(map(str, listen_on))}")
            net = Libp2pNet(host, dht, pubsub, table, limits)
            task_status.started(net)
            await net.run()
            scope.deadline = trio.current_time() + GOODBYE_S
            await net.hang_up()


class Libp2pNet:
    """See :class:`meshgen.net.port.Net`."""

    def __init__(self, host: Any, dht: Any, pubsub: MeshPubsub, rules: TableRules, limits: Limits) -> None:
        self._host = host
        self._swarm = host.get_network()
        self._dht = dht
        self._pubsub = pubsub
        self._limits = limits
        self._table = Table(dht, rules)
        self._idle = IdleWires(limits.idle_streams)
        self._serving: Counter[PeerId] = Counter()
        self._protocols: set[str] = set()
        self._refresh = trio.Event()
        self.leaving = trio.Event()
        self.dialer = Dialer(host, dht.find_peer, self._joined)

    @property
    def peer_id(self) -> PeerId:
        return PeerId(str(self._host.get_id()))

    def addresses(self) -> list[str]:
        return [str(address) for address in self._host.get_addrs()]

    # -- connections
    async def connect(self, address: str) -> PeerId:
        return await self.dialer.connect(address)

    def links(self) -> list[PeerLink]:
        return [_link(connections[0]) for connections in self._swarm.get_connections_map().values() if connections]

    async def _joined(self, peer: ID) -> None:
        """A connection alone leaves the routing table empty: enter the peer there, and look around from it soon."""
        await self._dht.routing_table.add_peer(peer, skip_server_mode_check=True)
        self._refresh.set()

    # -- channels
    def serve(self, protocol: str, handler: ChannelHandler) -> None:
        if protocol in self._protocols:
            raise ValueError(f"{protocol} is served already")
        self._protocols.add(protocol)
        self._host.set_stream_handler(protocol, partial(self._serve_stream, protocol, handler))

    async def _serve_stream(self, protocol: str, handler: ChannelHandler, stream: Any) -> None:
        peer = PeerId(str(stream.muxed_conn.peer_id))
        if self._serving[peer] >= self._limits.streams_per_peer:
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
        kept = await self._idle.take(peer, protocol)
        channel = StreamChannel(peer, kept or await fresh(), fresh if kept else None)
        try:
            yield channel
        except BaseException:
            await channel.wire.reset()
            raise
        await channel.end()
        await self._idle.keep(peer, protocol, channel.wire)

    async def _fresh_wire(self, peer: PeerId, protocol: str) -> Wire:
        target = _peer(peer)
        await self.dialer.reach(target)
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                return Wire(await self._host.new_stream(target, [protocol]))
        except trio.TooSlowError as error:
            raise Unreachable(f"{peer} does not answer") from error
        except StreamFailure as error:
            raise Unreachable(f"{peer} does not serve {protocol}, or went away") from error
        except (SwarmException, IOException) as error:
            raise Unreachable(f"{peer} went away") from error

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
            await self.leaving.wait()
            nursery.cancel_scope.cancel()

    async def _look_around(self) -> None:
        while True:
            await self._refresh.wait()
            self._refresh = trio.Event()
            await self._dht.refresh_routing_table()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            await self._idle.sweep()
            self._table.sweep(time.time())

    async def meet_neighbours(self) -> None:
        """Connect to peers that mDNS finds on the local network. It reports them from a thread of its own."""
        found, neighbours = trio.open_memory_channel[Any](32)
        token = trio.lowlevel.current_trio_token()

        def met(info: Any) -> None:
            token.run_sync_soon(_offer, found, info)

        peerDiscovery.register_peer_discovered_handler(met)
        try:
            async for info in neighbours:
                try:
                    await self.dialer.reach(info.peer_id, info.addrs)
                except Unreachable as error:
                    logging.getLogger("meshgen.net").info("a neighbour can't be reached: %s", error)
        finally:
            peerDiscovery.unregister_peer_discovered_handler(met)

    async def hang_up(self) -> None:
        """Close connections and listeners. libp2p would too, but in tasks that are cancelled by then, and so leave them open."""
        async with trio.open_nursery() as nursery:
            for listener in list(self._swarm.listeners.values()):
                nursery.start_soon(listener.close)
            for connection in self._swarm.get_connections():
                nursery.start_soon(connection.close)


def _offer(channel: trio.MemorySendChannel[Any], info: Any) -> None:
    with suppress(trio.WouldBlock, trio.BrokenResourceError):  # a crowd: this one is met at its next announcement
        channel.send_nowait(info)


def _make_host(identity: Identity, listen: list[Multiaddr], announce: Sequence[str], mdns: bool, limits: Limits) -> Any:
    keys = ed25519_key_pair(identity.seed)
    host = new_host(
        key_pair=keys,
        # The defaults would also offer TLS, secio and *plaintext*. Noise wants a key of its own kind.
        sec_opt={NOISE: NoiseTransport(keys, noise_privkey=x25519_key_pair().private_key)},
        muxer_opt={YAMUX: MeshYamux},
        listen_addrs=listen,
        enable_mDNS=mdns,
        negotiate_timeout=HANDSHAKE_TIMEOUT_S,
        resource_manager=new_resource_manager(enable_memory_pooling=False, enable_circuit_breaker=False, enable_metrics=False),
        connection_config=ConnectionConfig(
            max_connections=limits.connections,
            high_watermark=limits.connections * 4 // 5,
            low_watermark=min(24, limits.connections // 4),
            min_connections=min(8, limits.connections // 8),
            inbound_upgrade_timeout=HANDSHAKE_TIMEOUT_S,
            outbound_upgrade_timeout=DIAL_TIMEOUT_S,
            outbound_stream_protocol_negotiation_timeout=DIAL_TIMEOUT_S,
        ),
        addrs_factory=partial(_advertised, [Multiaddr(address) for address in announce]),
    )
    swarm = host.get_network()
    swarm.retry_config = RetryConfig(max_retries=0)  # the dialer knows better when to try again
    swarm.upgrader.muxer_multistream = MeshMuxer(HANDSHAKE_TIMEOUT_S)
    return host


def _advertised(announce: list[Multiaddr], candidates: list[Multiaddr]) -> list[Multiaddr]:
    """What others are told to dial: never 0.0.0.0, which is what the listener reports for "all interfaces"."""
    return announce or list(dict.fromkeys(each for address in candidates for each in _expanded(address)))


def _expanded(address: Multiaddr) -> list[Multiaddr]:
    """The interfaces behind a wildcard, loopback last: it serves a second node on the same machine, and one without a network."""
    for wildcard, loopback in (("/ip4/0.0.0.0/", "/ip4/127.0.0.1/"), ("/ip6/::/", "/ip6/::1/")):
        if str(address).startswith(wildcard):
            outside = [each for each in expand_wildcard_address(address) if each != address]
            return [*outside, Multiaddr(str(address).replace(wildcard, loopback))]
    return [address]


def _parse_listen(address: str) -> Multiaddr:
    """Raises ValueError, or NetError when the port is taken.

    py-libp2p listens with SO_REUSEPORT: a second node on the same port would start, and get half of the first one's connections.
    """
    try:
        parsed = Multiaddr(address)
        host = parsed.value_for_protocol("ip6" if address.startswith("/ip6/") else "ip4")
        port = int(parsed.value_for_protocol("tcp"))
    except Exception as error:  # the library raises a dozen unrelated types for malformed text
        raise ValueError(f"can't listen on {address!r}; an address to listen on looks like /ip4/0.0.0.0/tcp/4001") from error
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise NetError(f"can't listen on {address}: {error.strerror}; is another node running there?") from error
    return parsed


def _link(connection: Any) -> PeerLink:
    addresses = connection.get_transport_addresses()
    return PeerLink(
        peer=PeerId(str(connection.muxed_conn.peer_id)),
        address=str(addresses[0]) if addresses else "",
        outbound=connection.direction is Direction.OUTBOUND,
        relayed=connection.get_connection_type() is ConnectionType.RELAYED,
    )


def _peer(peer: PeerId) -> ID:
    try:
        return ID.from_base58(peer)
    except ValueError as error:
        raise Unreachable(f"{peer!r} is no peer id") from error


def _quieten() -> None:
    """py-libp2p logs every broken connection, some of it through the root logger; LIBP2P_DEBUG=... turns it on."""
    if "LIBP2P_DEBUG" in os.environ:
        return
    noisy = logging.getLogger("libp2p")
    noisy.propagate = False
    noisy.addHandler(logging.NullHandler())  # without any handler, warnings would go to stderr
    root = logging.getLogger()
    if not any(isinstance(each, _NotLibp2p) for each in root.filters):
        root.addFilter(_NotLibp2p())


class _NotLibp2p(logging.Filter):
    """Drops what modules of libp2p log to the root logger directly."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "/libp2p/" not in record.pathname
