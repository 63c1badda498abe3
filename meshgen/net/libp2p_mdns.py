"""Finding peers on the local network by mDNS, without any bootstrap address.

py-libp2p's own service is taken apart for it: as it comes it announces ``0.0.0.0``, which every neighbour would dial as itself;
it blocks the event loop for 1.5 s when it starts; and it writes to the peer store from a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.discovery.events.peerDiscovery import peerDiscovery
from libp2p.discovery.mdns.broadcaster import PeerBroadcaster
from libp2p.discovery.mdns.listener import PeerListener
from libp2p.discovery.mdns.mdns import SERVICE_TYPE
from libp2p.discovery.mdns.utils import stringGen
from zeroconf import Zeroconf

from meshgen.net.guard import log, shielded
from meshgen.net.port import Unreachable

GOODBYE_S = 3.0
CROWD = 32
"""How many neighbours may wait to be dialled; more are met at their next announcement."""


async def meet_neighbours(peer_id: str, addresses: Sequence[str], reach: Callable[[Any, Any], Awaitable[None]]) -> None:
    """Announce the addresses on the local network, and ``reach(peer, addresses)`` whoever else does, until cancelled."""
    found, neighbours = trio.open_memory_channel[Any](CROWD)
    token = trio.lowlevel.current_trio_token()

    def met(info: Any) -> None:  # runs in a thread of zeroconf's
        token.run_sync_soon(_offer, found, info)

    peerDiscovery.register_peer_discovered_handler(met)
    service: _Service | None = None
    try:
        service = await trio.to_thread.run_sync(_Service.start, peer_id, list(addresses))
        async for info in neighbours:
            try:
                await reach(info.peer_id, info.addrs)
            except Unreachable as error:
                log.info("a neighbour can't be reached: %s", error)
    except OSError as error:
        log.warning("mDNS is off: %s", error)
    finally:
        peerDiscovery.unregister_peer_discovered_handler(met)
        if service is not None:
            with shielded(GOODBYE_S):
                await trio.to_thread.run_sync(service.stop)


def _offer(channel: trio.MemorySendChannel[Any], info: Any) -> None:
    with suppress(trio.WouldBlock, trio.BrokenResourceError):
        channel.send_nowait(info)


class _NoPeerStore:
    """Where the listener's thread would write addresses; the dialer enters those that answer."""

    def add_addrs(self, *_ignored: object) -> None: ...

    def clear_addrs(self, *_ignored: object) -> None: ...


@dataclass(frozen=True, slots=True)
class _Service:
    """Blocking: to be used in a thread."""

    zeroconf: Any
    broadcaster: Any
    listener: Any

    @classmethod
    def start(cls, peer_id: str, addresses: list[str]) -> _Service:
        zeroconf = Zeroconf()
        name = f"{stringGen(63)}.{SERVICE_TYPE}"
        broadcaster = PeerBroadcaster(zeroconf, SERVICE_TYPE, name, peer_id, port=0, listen_addrs=addresses)
        listener = PeerListener(_NoPeerStore(), zeroconf, SERVICE_TYPE, name)
        broadcaster.register()
        return cls(zeroconf, broadcaster, listener)

    def stop(self) -> None:
        self.broadcaster.unregister()
        self.listener.stop()
        self.zeroconf.close()
