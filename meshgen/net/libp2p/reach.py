"""Whether others can dial this node: it watches how they see it and asks them to try, again whenever something changed."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import psutil
import trio
from libp2p.abc import INotifee
from libp2p.connection_types import ConnectionType
from libp2p.host.observed_addr_manager import NATDeviceType
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from multiaddr import Multiaddr

from meshgen.net.libp2p.addresses import household
from meshgen.net.libp2p.reach_probe import AUTONAT, Prober, place_of, tcp_address
from meshgen.net.libp2p.reach_votes import ENOUGH_HOMES, State, Vote, is_global, is_loopback, is_sure, state_of

ASKED = 3
"""Verdicts that are enough, for a while."""
VOTE_S = 15 * 60.0
"""A verdict is asked for anew after this."""
LOOK_S = 10.0
"""So often the own addresses are looked at: a cable, a Wi-Fi or a sleep may have changed them."""
MAX_OBSERVED = 256


class Reachability(INotifee):  # type: ignore[misc]
    """``changed`` is called whenever something happened that may matter to who can reach whom, ``lost`` with each connection
    that ended."""

    def __init__(self, host: Any, changed: Callable[[], None], lost: Callable[[Any], None]) -> None:
        self._host = host
        self._swarm = host.get_network()
        self._changed = changed
        self._lost = lost
        self._prober = Prober(host)
        self._votes: dict[ID, Vote] = {}
        self._doors: dict[ID, Multiaddr] = {}  # where a peer got in from outside, if that was none of the own addresses
        self._seen: dict[Any, Multiaddr] = {}  # by connection
        self._own = own_ips()
        self._wake = trio.Event()
        self.moved = trio.Event()
        """This machine's addresses changed; replaced each time."""
        host._observed_addr_manager = self  # its own believes what four peers say, and nobody asks it why
        host._has_cached_protocols = lambda _peer: False  # else no connection but a peer's first is told where it comes from
        self._swarm.register_notifee(self)

    # -- what is known
    @property
    def state(self) -> State:
        if not self._swarm.listeners:
            return "private"  # nothing to dial
        return state_of(self._votes.values())

    @property
    def observed(self) -> tuple[str, ...]:
        """IPs, as multiaddrs: ports differ from connection to connection."""
        ips = {ip for each in self._seen.values() if (ip := _ip(each)) and not is_loopback(ip)}
        return tuple(f"/{'ip6' if ':' in ip else 'ip4'}/{ip}" for ip in sorted(ips))[:8]

    @property
    def seen_at(self) -> list[Multiaddr]:
        """Where peers outside see this node's connections come from, with their ports: what most households see first."""
        said = ((household(each.muxed_conn), place_of(seen.to_bytes())) for each, seen in self._seen.items())
        places = Counter(place for _home, place in dict.fromkeys(said) if place and place[0] not in self._own)
        return [tcp_address(*place) for place, _count in places.most_common(8)]

    @property
    def doors(self) -> list[Multiaddr]:
        """Addresses that are none of this machine's own, and yet lead here: those of a router that forwards a port."""
        return list(dict.fromkeys(self._doors.values()))

    def is_behind_nat(self) -> bool:
        return any(_ip(each) not in self._own for each in self._seen.values())

    def needs_relays(self) -> bool:
        state = self.state
        if state == "unknown":
            return self.is_behind_nat()  # nobody waits for the verdict: a relay too many costs little
        return state == "private" or not is_sure(self._votes.values()) or self._is_hidden()

    def _is_hidden(self) -> bool:
        """Only neighbours could get in, and the mesh goes beyond this network."""
        if any(vote.outside for vote in self._votes.values()) or any(map(is_global, self._own)):
            return False
        return any(is_global(ip) for peer in self._near() for ip in self._ips_of(peer))

    def _ips_of(self, peer: ID) -> list[str]:
        try:
            addresses = self._host.get_peerstore().addrs(peer)
        except PeerStoreError:
            return []
        return [str(ip) for address in addresses for name in ("ip4", "ip6") if (ip := _value(address, name))]

    def _near(self) -> dict[ID, Any]:
        """Peers on direct connections, and the connection."""
        return {each.muxed_conn.peer_id: each for each in self._swarm.get_connections() if is_direct(each)}

    def ask_anew(self) -> None:
        """What was found before counts no longer: a door was opened, or the machine moved."""
        self._votes.clear()
        self._doors.clear()
        self._wake.set()

    # -- what happens
    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_at_addresses)
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                await self._ask_around()

    async def _look_at_addresses(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            self._forget_old()
            self._wake.set()
            own = own_ips()
            if own != self._own:
                self._own = own
                self.ask_anew()
                self.moved.set()
                self.moved = trio.Event()
                self._changed()

    def _forget_old(self) -> None:
        near, now = self._near(), trio.current_time()
        for peer, vote in list(self._votes.items()):
            if now - vote.at_s > (VOTE_S if peer in near else 2 * VOTE_S):
                del self._votes[peer]
                self._doors.pop(peer, None)
        for connection in [each for each in self._seen if each.is_closed]:
            del self._seen[connection]

    async def _ask_around(self) -> None:
        """Ask until enough have answered, those first who look from outside."""
        if not self._swarm.listeners:
            return
        near = {peer: each for peer, each in self._near().items() if peer not in self._votes and self._can_tell(peer, each)}
        for peer in sorted(near, key=lambda peer: not self._is_outside(near[peer])):
            if len(self._votes) < ASKED or self._adds_a_home(near[peer]):
                await self._ask(peer, near[peer])

    def _adds_a_home(self, connection: Any) -> bool:
        """Is it of a household that was not heard yet, while too few look from outside?"""
        homes = {vote.home for vote in self._votes.values() if vote.outside}
        return self._is_outside(connection) and len(homes) < ENOUGH_HOMES and household(connection.muxed_conn) not in homes

    def _can_tell(self, peer: ID, connection: Any) -> bool:
        """It speaks AutoNAT, has said where it sees this node, and is on another machine."""
        remote = connection.muxed_conn.get_remote_address()
        if connection not in self._seen or remote is None or is_loopback(remote[0].removeprefix("::ffff:")):
            return False
        return bool(self._host.get_peerstore().supports_protocols(peer, [AUTONAT]))

    def _is_outside(self, connection: Any) -> bool:
        return connection in self._seen and _ip(self._seen[connection]) not in self._own

    async def _ask(self, peer: ID, connection: Any) -> None:
        if connection not in self._seen:
            return  # it ended while others were asked
        before, outside, home = (self.state, self.doors), self._is_outside(connection), household(connection.muxed_conn)
        verdict = await self._prober.ask(peer, self._candidates(connection))
        if verdict.reached is None:
            return
        self._votes[peer] = Vote(verdict.reached, outside, trio.current_time(), home)
        if outside and verdict.address is not None:
            self._doors[peer] = verdict.address
        if (self.state, self.doors) != before:
            self._changed()

    def _candidates(self, connection: Any) -> Iterable[Multiaddr]:
        """Each port that is listened on, at the address where this peer sees the node."""
        ports = {place[1] for each in self._host.get_transport_addrs() if (place := place_of(each.to_bytes()))}
        return [tcp_address(_ip(self._seen[connection]), port) for port in sorted(ports)]

    # -- in the place of libp2p's ObservedAddrManager
    def record_observation(self, connection: Any, observed: Multiaddr, _local: list[Multiaddr]) -> None:
        """Called once for each connection, when its peer has told about itself."""
        if place_of(observed.to_bytes()) is not None and is_direct(connection) and len(self._seen) < MAX_OBSERVED:
            self._seen[connection] = observed
        self._wake.set()
        self._changed()

    def remove_conn(self, connection: Any) -> None:
        self._seen.pop(connection, None)

    def addrs(self, *_least: int) -> list[Multiaddr]:
        return []

    def get_nat_type(self) -> tuple[NATDeviceType, NATDeviceType]:
        return NATDeviceType.UNKNOWN, NATDeviceType.UNKNOWN

    # -- what libp2p tells of connections
    async def connected(self, network: Any, conn: Any) -> None:
        """Identify follows, and with it record_observation, for the first connection: the direct one, if there are two."""
        if is_direct(conn):
            network.connections.get(conn.muxed_conn.peer_id, []).sort(key=lambda each: not is_direct(each))

    async def disconnected(self, network: Any, conn: Any) -> None:  # noqa: ARG002 - called by name
        self._seen.pop(conn, None)
        self._lost(conn)
        self._changed()

    async def opened_stream(self, network: Any, stream: Any) -> None:
        pass

    async def closed_stream(self, network: Any, stream: Any) -> None:
        pass

    async def listen(self, network: Any, multiaddr: Multiaddr) -> None:
        pass

    async def listen_close(self, network: Any, multiaddr: Multiaddr) -> None:
        pass


def is_direct(connection: Any) -> bool:
    return not connection.is_closed and connection.get_connection_type() is not ConnectionType.RELAYED


def own_ips() -> frozenset[str]:
    families = (socket.AF_INET, socket.AF_INET6)
    found = (each for addresses in psutil.net_if_addrs().values() for each in addresses if each.family in families)
    return frozenset(each.address.partition("%")[0] for each in found)


def _ip(address: Multiaddr) -> str:
    """Of an address that was checked to have one."""
    place = place_of(address.to_bytes())
    return place[0] if place else ""


def _value(address: Multiaddr, name: str) -> str | None:
    return address.value_for_protocol(name) if name in [protocol.name for protocol in address.protocols()] else None
