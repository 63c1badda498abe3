"""All ways to this node, put together: its own addresses, doors that a router opened, relays; and the relay it is for others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import trio
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from meshgen.net.libp2p.addresses import is_peer
from meshgen.net.libp2p.dial import Dialer
from meshgen.net.libp2p.host import forget_interfaces
from meshgen.net.libp2p.reach import Reachability, own_ips
from meshgen.net.libp2p.reach_direct import DirectPaths
from meshgen.net.libp2p.reach_gossip import GossipMover
from meshgen.net.libp2p.reach_probe import place_of
from meshgen.net.libp2p.reach_relays import KEY, Relays
from meshgen.net.libp2p.reach_upnp import Upnp, wants_door
from meshgen.net.libp2p.reach_votes import is_loopback
from meshgen.net.libp2p.relay import Relay
from meshgen.net.libp2p.relay_client import Circuits
from meshgen.net.libp2p.relay_switch import RelayLimits
from meshgen.net.libp2p.table import Table
from meshgen.net.port import PeerId, Reach

ANNOUNCE_S = 30 * 60.0
"""So often a relay says in the table that it is one."""
SWEEP_S = 20.0
MAX_BEFORE = 3
"""Own addresses before those through relays. Some machines have a dozen, and an advert holds eight."""


class Ways:
    """What :class:`meshgen.net.libp2p.Libp2pNet` knows of reachability."""

    def __init__(
        self,
        host: Any,
        dht: Any,
        pubsub: Any,
        table: Table,
        preferred: Iterable[ID],
        limits: RelayLimits | None,
        upnp: bool = False,
    ) -> None:
        """``preferred`` are the peers to join through; ``limits`` None = no relay for others."""
        self._host = host
        self._table = table
        self._watchers: list[Callable[[], None]] = []
        self._news = trio.Event()
        self._moved = trio.Event()
        self._mapped: list[Multiaddr] = []
        self._upnp = upnp
        self._always = limits is not None and limits.always
        self.relays_for: Callable[[PeerId], bool] = lambda _: True
        self.may_carry: Callable[[PeerId], bool] = lambda _: True
        self.reachability = Reachability(host, self._note, GossipMover(host, pubsub).lost)
        self._circuits = Circuits(host)
        self.dialer = Dialer(host, dht, self._circuits)
        self.relays = Relays(
            host,
            self._circuits,
            needed=self.reachability.needs_relays,
            changed=self._note,
            preferred=preferred,
            find=self._find_relays,
            connect=self.dialer.reach,
            is_welcome=self._is_welcome,
        )
        self.relay = None if limits is None else Relay(host, limits, self._takes_reservations, self._serves)
        self.direct = DirectPaths(host, self.dialer.reach_directly, lambda: self.reachability.seen_at)
        self._plain: Callable[[], list[Multiaddr]] = host.get_addrs
        self._more: list[Multiaddr] = []
        self._told: tuple[str, tuple[PeerId, ...]] = ("unknown", ())
        host.get_addrs = self.addresses

    def _is_welcome(self, peer: PeerId) -> bool:
        return is_peer(peer) and self.may_carry(peer)

    def _serves(self, peer: PeerId) -> bool:
        return self.relays_for(peer)

    def _takes_reservations(self) -> bool:
        return self._always or self.reachability.state != "private"

    # -- what is known
    def reach(self) -> Reach:
        """Of relays, those in the addresses that others are told."""
        return Reach(self.reachability.state, self._told[1], self.reachability.observed)

    def addresses(self) -> list[Multiaddr]:
        """In the place of the host's own, which takes the relay in a circuit's address for the peer."""
        plain, me = self._plain(), Multiaddr(f"/p2p/{self._host.get_id()}")
        if not self._more:
            return plain
        outside = [each for each in plain if not _is_local(each)]
        more = [each.encapsulate(me) for each in self._more]
        local = [each for each in plain if each not in outside]
        return list(dict.fromkeys([*outside[:MAX_BEFORE], *more, *outside[MAX_BEFORE:], *local]))

    def relayed(self) -> int:
        return self._circuits.moved

    def dialled_through(self) -> Mapping[PeerId, int]:
        return self._circuits.dialled

    def carried(self) -> int:
        return self.relay.carried if self.relay is not None else 0

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)

    # -- what happens
    def _note(self) -> None:
        """Something may have changed: look, and tell, in a task of its own."""
        self.relays.wake()
        self._news.set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for task in (self.reachability.run, self.relays.run, self.direct.run, self._tell, self._push, self._follow_moves):
                nursery.start_soon(task)
            if self.relay is not None:
                nursery.start_soon(self._serve_as_relay, self.relay)
            if self._upnp:
                nursery.start_soon(self._keep_door)

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            more = [*self._mapped, *self.reachability.doors, *self.relays.addresses()]
            now = self.reachability.state, tuple(PeerId(str(held.relay)) for held in self.relays.held)
            if (now, more) == (self._told, self._more):
                continue
            moved, self._told, self._more = more != self._more, now, more
            for changed in self._watchers:
                changed()
            if moved:
                self._moved.set()

    async def _push(self) -> None:
        """Tell connected peers, which keep the addresses that they were told last. One that is gone holds up nobody else."""
        while True:
            await self._moved.wait()
            self._moved = trio.Event()
            await self._host._push_identify_to_all_peers()

    async def _follow_moves(self) -> None:
        while True:
            await self.reachability.moved.wait()
            self.direct.forget()
            forget_interfaces()
            for changed in self._watchers:
                changed()
            self._moved.set()

    async def _find_relays(self) -> list[PeerId]:
        return await self._table.find_providers(KEY, 8)

    async def _serve_as_relay(self, relay: Relay) -> None:
        announce_at_s = 0.0
        while True:
            await trio.sleep(SWEEP_S)
            relay.sweep()
            if self._is_surely_public() and trio.current_time() >= announce_at_s:
                announce_at_s = trio.current_time() + ANNOUNCE_S
                await self._table.provide(KEY)

    def _is_surely_public(self) -> bool:
        return self.reachability.state == "public" and not self.reachability.needs_relays()

    async def _keep_door(self) -> None:
        """Anew in each network that this machine comes to."""
        while True:
            moved = self.reachability.moved
            async with trio.open_nursery() as nursery:
                port = self._outer_port()
                if port is not None and wants_door(own_ips()):
                    nursery.start_soon(Upnp(self._door_opened).run, port)
                await moved.wait()
                nursery.cancel_scope.cancel()
            self._door_opened(None)  # that was the door of the network before

    def _outer_port(self) -> int | None:
        """The first that is not for this machine alone."""
        places = (place_of(address.to_bytes()) for address in self._host.get_transport_addrs())
        return next((place[1] for place in places if place is not None and not is_loopback(place[0])), None)

    def _door_opened(self, mapped: Multiaddr | None) -> None:
        """A router forwards this address to here, or does so no longer."""
        opened = [] if mapped is None else [mapped]
        if opened != self._mapped:
            self._mapped = opened
            self.reachability.ask_anew()
            self._note()


def _is_local(address: Multiaddr) -> bool:
    names = [protocol.name for protocol in address.protocols()]
    return names[0] in ("ip4", "ip6") and is_loopback(str(address.value_for_protocol(names[0])))
