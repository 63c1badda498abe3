"""Two peers behind two routers, from a circuit to a connection of their own: DCUtR, "direct connection upgrade through relay".

Each says on the circuit where others see it, and both dial at the same moment: to each router, what comes from the other one then
is the answer to what just went out. The two dials are one TCP connection without a listener, so it is agreed who speaks first on
it: the one that had dialled the circuit. The other one leads, and waits for half a round trip, in which its last word arrives.

Whom a peer may have this node dial is bounded: a few ports of one address beyond the own router, a few times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

import trio
from libp2p.connection_types import ConnectionType
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from multiaddr import Multiaddr

from meshgen.net.conduct import Buckets
from meshgen.net.guard import log, shielded, where
from meshgen.net.libp2p.punch_port import knock
from meshgen.net.libp2p.reach import is_direct, own_ips
from meshgen.net.libp2p.reach_probe import place_of, tcp_address
from meshgen.net.libp2p.reach_votes import is_global
from meshgen.net.libp2p.relay_wire import BadMessage, Pipe, Questions

DCUTR = "/libp2p/dcutr"
TRIES = 3
TRY_S = 4.0
"""For one try: a SYN, its two repetitions, and a handshake."""
REFUSED_PAUSES_S = (0.1, 0.3, 1.0)
"""Some routers refuse what comes before they know of it, so it is said again."""
MAX_ADDRESSES = 8
"""Said, and read."""
MAX_DIALS = 4
LEAST_PORT = 1024
"""No node's router gives it a lower one, and other people's servers listen there."""
SERVED_BURST, SERVED_PER_S = 6, 1 / 30
"""Tries with one peer that this node takes part in."""
SERVED_AT_ONCE = 4

Place = tuple[str, int]


class Puncher:
    """Both sides of DCUtR. ``seen_at``: where others see this node."""

    def __init__(self, host: Any, seen_at: Callable[[], list[Multiaddr]]) -> None:
        self._host = host
        self._swarm = host.get_network()
        self._seen_at = seen_at
        self._questions = Questions()
        self._served = Buckets(SERVED_PER_S, SERVED_BURST, time.monotonic)
        self._busy = 0
        host.set_stream_handler(DCUTR, self._serve)

    # -- the side that was dialled through the relay
    async def punch(self, peer: ID) -> bool:
        """Lead a few tries. True: there is a direct connection now."""
        for _ in range(TRIES):
            try:
                if not self._own_places() or not await self._lead(peer):
                    return False
            except (StreamFailure, SwarmException, IOException):
                return self._is_direct(peer)  # it speaks no DCUtR, wants no more of it, or is gone
            if self._is_direct(peer):
                return True
        return False

    async def _lead(self, peer: ID) -> bool:
        """One try. False: the peer named no place to dial."""
        pipe = Pipe(await self._host.new_stream(peer, [DCUTR]))
        try:
            asked_s = trio.current_time()
            await pipe.say(self._connect())
            places = self._judge(await pipe.hear(HolePunch))
            round_trip_s = trio.current_time() - asked_s
            await pipe.say(HolePunch(type=HolePunch.SYNC))
            if places:
                await trio.sleep(round_trip_s / 2)
                await self._dial(peer, places, speaks_first=False)
            return bool(places)
        finally:
            await pipe.reset()

    # -- the side that dialled through the relay
    async def _serve(self, stream: Any) -> None:
        peer, pipe = stream.muxed_conn.peer_id, Pipe(stream)
        relayed = stream.muxed_conn.get_connection_type() is ConnectionType.RELAYED
        if not relayed or self._busy >= SERVED_AT_ONCE or not self._own_places() or not self._served.take(peer):
            await pipe.reset()
            return
        self._busy += 1
        try:
            await self._follow(peer, pipe)
        except IOException:
            pass  # it went away, or sent what is no message
        finally:
            self._busy -= 1
            await pipe.reset()

    async def _follow(self, peer: ID, pipe: Pipe) -> None:
        places = self._judge(await self._questions.hear(pipe, HolePunch))
        await pipe.say(self._connect())
        if (await pipe.hear(HolePunch)).type != HolePunch.SYNC:
            raise BadMessage("no SYNC where one was due")
        await self._dial(peer, places, speaks_first=True)

    # -- places
    def _connect(self) -> HolePunch:
        return HolePunch(type=HolePunch.CONNECT, ObsAddrs=[tcp_address(*place).to_bytes() for place in self._own_places()])

    def _own_places(self) -> list[Place]:
        """Where this node may be dialled; none if it can't punch. Most routers keep the port, so that is a guess worth a try."""
        port = self._host.outward_port
        if port is None:
            return []
        seen = list(_plausible(each.to_bytes() for each in self._seen_at()))[: MAX_ADDRESSES // 2]
        return list(dict.fromkeys([*seen, *((ip, port) for ip, _port in seen)]))

    def _judge(self, message: HolePunch) -> list[Place]:
        """Of what a peer names: ports of one IP that is neither this node's nor its router's. Raises BadMessage."""
        if message.type != HolePunch.CONNECT:
            raise BadMessage("no CONNECT where one was due")
        own = own_ips() | {ip for ip, _port in self._own_places()}
        named = [place for place in _plausible(message.ObsAddrs[:MAX_ADDRESSES]) if place[0] not in own]
        places = dict.fromkeys(place for place in named if place[0] == named[0][0])
        return list(places)[:MAX_DIALS]

    # -- dialling
    def _is_direct(self, peer: ID) -> bool:
        return any(is_direct(connection) for connection in self._swarm.get_connections(peer))

    async def _dial(self, peer: ID, places: list[Place], *, speaks_first: bool) -> None:
        """All places at once, until one leads to the peer."""
        with trio.move_on_after(TRY_S):
            async with trio.open_nursery() as nursery:
                for place in places:
                    nursery.start_soon(self._dial_one, peer, place, speaks_first, nursery.cancel_scope)

    async def _dial_one(self, peer: ID, place: Place, speaks_first: bool, all_dials: trio.CancelScope) -> None:
        raw = await _knock_again(self._host.outward_port, place, speaks_first)
        if raw is None:
            return
        reached = False
        try:
            reached = await self._shake_hands(raw, peer, place)
        except (SwarmException, IOException):
            pass  # not the peer, or it gave up
        except Exception as error:  # noqa: BLE001 - what Noise raises for bytes that don't decrypt is its secret
            log.info("no handshake through both routers: %s", where(error))
        finally:
            if not reached:
                with shielded(1.0):
                    await raw.close()
        if reached:
            all_dials.cancel()

    async def _shake_hands(self, raw: RawConnection, peer: ID, place: Place) -> bool:
        if raw.is_initiator:
            await self._swarm.upgrade_outbound_raw_conn(raw, peer)
            return True
        muxed = await self._swarm.upgrade_inbound_raw_conn(raw, tcp_address(*place))
        return bool(muxed.peer_id == peer)


def _plausible(addresses: Iterable[bytes]) -> Iterable[Place]:
    """Those where a home's router may let a node in."""
    places = (place_of(address) for address in addresses)
    return (each for each in places if each and each[1] >= LEAST_PORT and _is_of_the_internet(each[0]))


def _is_of_the_internet(ip: str) -> bool:
    return ":" not in ip and is_global(ip) and not ip_address(ip).is_multicast


async def _knock_again(port: int, place: Place, speaks_first: bool) -> RawConnection | None:
    for pause_s in (*REFUSED_PAUSES_S, None):
        try:
            return RawConnection(await knock(port, place), speaks_first)
        except ConnectionRefusedError:
            if pause_s is not None:
                await trio.sleep(pause_s)
        except OSError:
            return None
    return None
