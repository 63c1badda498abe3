"""A py-libp2p host as the mesh wants it: what it speaks, how much it takes on, where it listens, what it says of itself."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair as ed25519_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_key_pair
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.rcmgr.manager import new_resource_manager
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr

from meshgen.identity import Identity
from meshgen.net.guard import DIAL_TIMEOUT_S
from meshgen.net.libp2p.addresses import AddressBook, guard_addresses
from meshgen.net.libp2p.psk import MeshSecurity
from meshgen.net.libp2p.yamux import MeshMuxer, MeshYamux
from meshgen.net.port import NetError

HANDSHAKE_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What one node takes on."""

    connections: int = 200
    streams_per_peer: int = 128
    """Streams that one peer may have open for our protocols at a time; more are refused."""
    idle_streams: int = 256


DEFAULT_LIMITS = Limits()


def make_host(
    identity: Identity, listen: list[Multiaddr], announce: Sequence[str], limits: Limits, psk: bytes | None = None
) -> Any:
    guard_addresses()
    book = AddressBook()
    keys = ed25519_key_pair(identity.seed)
    # The defaults would also offer TLS, secio and *plaintext*. Noise wants a key of its own kind.
    security = {NOISE: NoiseTransport(keys, noise_privkey=x25519_key_pair().private_key)}
    host = new_host(
        key_pair=keys,
        sec_opt=security,
        muxer_opt={YAMUX: MeshYamux},
        peerstore_opt=book,
        listen_addrs=listen,
        negotiate_timeout=HANDSHAKE_TIMEOUT_S,
        resource_manager=new_resource_manager(enable_memory_pooling=False, enable_circuit_breaker=False, enable_metrics=False),
        connection_config=ConnectionConfig(
            max_connections=limits.connections,
            high_watermark=limits.connections * 3 // 5,
            low_watermark=min(24, limits.connections // 4),
            min_connections=min(8, limits.connections // 8),
            inbound_upgrade_timeout=HANDSHAKE_TIMEOUT_S,
            outbound_upgrade_timeout=DIAL_TIMEOUT_S,
            outbound_stream_protocol_negotiation_timeout=DIAL_TIMEOUT_S,
        ),
        addrs_factory=partial(_advertised, [Multiaddr(address) for address in announce]),
    )
    swarm = host.get_network()
    book.linked = lambda: swarm.connections
    swarm.retry_config = RetryConfig(max_retries=0)  # the dialer knows better when to try again
    swarm.upgrader.security_multistream = MeshSecurity(security, psk)
    swarm.upgrader.muxer_multistream = MeshMuxer(HANDSHAKE_TIMEOUT_S)
    return host


def _advertised(announce: list[Multiaddr], candidates: list[Multiaddr]) -> list[Multiaddr]:
    """What others are told to dial: never 0.0.0.0, which is what the listener reports for "all interfaces"."""
    minute = int(time.monotonic() // 60)
    return announce or list(dict.fromkeys(each for address in candidates for each in _expanded(address, minute)))


@lru_cache(maxsize=64)
def _expanded(address: Multiaddr, _minute: int) -> list[Multiaddr]:
    """The interfaces behind a wildcard, loopback last: it serves a second node on the same machine, and one without a network.

    Asked anew once a minute: libp2p wants the addresses for every message that it gossips.
    """
    for wildcard, loopback in (("/ip4/0.0.0.0/", "/ip4/127.0.0.1/"), ("/ip6/::/", "/ip6/::1/")):
        if str(address).startswith(wildcard):
            outside = [each for each in expand_wildcard_address(address) if each != address]
            return [*outside, Multiaddr(str(address).replace(wildcard, loopback))]
    return [address]


def forget_interfaces() -> None:
    """They are others now: the next look is to see them."""
    _expanded.cache_clear()


_WHY = {
    errno.EADDRINUSE: "the port is taken; is another node running there?",
    errno.EADDRNOTAVAIL: "this machine has no such address; set mesh.listen to one of its own, or to all: /ip4/0.0.0.0/tcp/...",
}


def parse_listen(address: str) -> Multiaddr:
    """Raises ValueError, or NetError when it can't be bound.

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
            raise NetError(f"can't listen on {address}: {_WHY.get(error.errno or 0, error.strerror)}") from error
    return parsed


def quieten() -> None:
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
