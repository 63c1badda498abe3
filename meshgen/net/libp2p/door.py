"""Who comes in: a limit of connections an address, a limit on handshakes under way, and whom this node keeps out.

py-libp2p takes one of its inbound slots for each connection that comes and never gives it back: a node would let in the first 192
of its life and nobody more. Here a slot is free again when its connection ends. Two things are limited apart: a handshake costs
CPU time and is nobody's yet; a connection costs memory and has a peer id that can be judged.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio
from libp2p.exceptions import ParseError
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.rcmgr import Direction
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from meshgen.net.conduct import Buckets, Conduct, Fault
from meshgen.net.guard import log, where
from meshgen.net.libp2p.addresses import household, is_peer
from meshgen.net.libp2p.crowd import Guest, whom_to_let_go
from meshgen.net.libp2p.frames import Watch
from meshgen.net.mailbox import Mailbox
from meshgen.net.port import PeerId

HANDSHAKES = 64
"""Under way at a time. One more throws out the oldest, and so the slowest: an honest one takes a second at most."""
HANDSHAKES_PER_S = 10.0
"""From one address, after a burst of HANDSHAKE_BURST; what is over is hung up on at once."""
HANDSHAKE_BURST = 60.0
CONNECTIONS_PER_ADDRESS = 32
"""A household, or a whole site behind its NAT, has one address. This machine's own, 127.0.0.1 and ::1, are not limited."""
RESERVED = 0.1
"""So much of the connections is kept for those that this node dials itself."""
HANG_UP_S = 1.0
CUT_OFF_QUEUE = 1024
NEWCOMER = 1.0
"""Who earned less than this is a newcomer still, and may be let go for another newcomer."""
HEARD_S = 45.0
"""Whoever answers pings was heard in this time."""
CUT_OFF_POINTS = 30.0
"""What an address bears for each of its peers that had to be cut off: four in a row, and it is kept out itself."""
MAX_NEGOTIATION_BYTES = 1024
"""Of one line of a negotiation: the name of a protocol."""


class Door:
    """A swarm's ways in, and what keeps people out."""

    def __init__(self, swarm: Any, most: int) -> None:
        self._swarm = swarm
        self.conduct = Conduct(time.monotonic)
        self.doomed = Mailbox[PeerId](CUT_OFF_QUEUE)
        """Whom to hang up on."""
        self._most_inbound = most - max(1, round(most * RESERVED))
        self._places: Counter[str] = Counter()  # connections, with those that still shake hands
        self._handshakes: OrderedDict[object, trio.CancelScope] = OrderedDict()
        self._pace = Buckets(HANDSHAKES_PER_S, HANDSHAKE_BURST, time.monotonic)
        self._addresses = Conduct(time.monotonic)
        self._add_conn: Callable[..., Any] = swarm.add_conn
        swarm.add_conn = self._add_welcome
        self._dial: Callable[..., Any] = swarm._dial_with_retry
        swarm._dial_with_retry = self._dial_welcome
        self._handle_stream: Callable[[Any], Any] = swarm.common_stream_handler
        swarm.set_stream_handler(self._serve)
        swarm._handle_inbound_connection = self._admit
        multiselect_communicator.read_delim = _read_line
        swarm.upgrader.muxer_multistream.watch = Watch(self.blame, self.conduct.is_friend)

    def blame(self, peer: PeerId, points: float) -> None:
        """Put a fault down to a peer; one too many, and it is hung up on. Keys cost nothing, so its address bears a part."""
        if not self.conduct.blame(peer, points):
            return
        log.warning("a peer is kept out for %.0f s: too many faults", self.conduct.shut_for_s(peer))
        for connection in self._swarm.get_connections():
            if str(connection.muxed_conn.peer_id) == peer and (place := household(connection.muxed_conn)):
                self._addresses.blame(PeerId(place), CUT_OFF_POINTS)
        self.doomed.put(peer)

    def sweep(self) -> None:
        """Forget what is over; remember who is there and answers."""
        self.conduct.sweep()
        self._addresses.sweep()
        since_s = trio.current_time() - HEARD_S
        for connection in self._swarm.get_connections():
            if not connection.is_closed and getattr(connection.muxed_conn, "heard_s", 0.0) > since_s:
                self.conduct.meet(PeerId(str(connection.muxed_conn.peer_id)))

    async def _admit(self, stream: Any, listener: Any) -> None:
        """From the accepted socket to the connection's end; returning closes the socket."""
        place = household(stream)
        if not self._may_knock(place) or not await self._has_room():
            return
        self._places[place] += 1
        try:
            muxed = await self._shake_hands(stream, listener)
            if muxed is not None:
                await muxed.event_closed.wait()
        finally:
            self._places[place] -= 1
            if not self._places[place]:
                del self._places[place]

    def _may_knock(self, place: str) -> bool:
        return not place or (
            not self._addresses.is_shut(PeerId(place))
            and self._places[place] < CONNECTIONS_PER_ADDRESS
            and self._pace.take(place)
        )

    async def _has_room(self) -> bool:
        """Is there a slot, or one whose peer can be let go?"""
        inbound = [each for each in self._swarm.get_connections() if each.direction is Direction.INBOUND]
        staying = [each for each in inbound if not each.is_closed]
        return len(staying) < self._most_inbound or await self._let_one_go(staying)

    async def _shake_hands(self, stream: Any, listener: Any) -> Any:
        """The connection, None if it came to none."""
        if len(self._handshakes) >= HANDSHAKES:
            _ticket, oldest = self._handshakes.popitem(last=False)
            oldest.cancel()
        ticket = object()
        with trio.CancelScope() as scope, suppress(SwarmException, IOException):
            self._handshakes[ticket] = scope
            try:
                return await self._swarm.upgrade_inbound_raw_conn(RawConnection(stream, False), listener)
            finally:
                self._handshakes.pop(ticket, None)
        return None

    async def _add_welcome(self, muxed: Any, direction: str = "unknown") -> Any:
        """In the place of Swarm.add_conn, through which every finished connection goes, whoever dialled."""
        if why := self._why_not(PeerId(str(muxed.peer_id))):
            await muxed.close()
            raise SwarmException(why)
        return await self._add_conn(muxed, direction=direction)

    async def _dial_welcome(self, address: Any, peer_id: Any, *others: Any) -> Any:
        """In the place of what every dial of the swarm goes through: nobody knocks at a door to shut his own in its face."""
        if why := self._why_not(PeerId(str(peer_id))):
            raise SwarmException(why)
        return await self._dial(address, peer_id, *others)

    def _why_not(self, peer: PeerId) -> str:
        if not is_peer(peer):  # libp2p knows RSA and others, too; who has one signs nothing here, and is in no list
            return "this peer's key is no Ed25519 key"
        return "this peer is kept out" if self.conduct.is_shut(peer) else ""

    async def _serve(self, stream: Any) -> None:
        """Whatever a peer's stream is for, and whatever trips over its bytes: py-libp2p would let an error end the whole node."""
        try:
            await self._handle_stream(stream)
        except (IOException, SwarmException):
            await stream.reset()  # it went away
        except Exception as error:  # noqa: BLE001 - the last to catch it
            log.info("a stream is reset, what served it failed: %s", where(error))
            self.blame(PeerId(str(stream.muxed_conn.peer_id)), Fault.JUNK)
            await stream.reset()

    async def _let_one_go(self, inbound: list[Any]) -> bool:
        """Hang up on one of those that did nothing for this node; False if all of them did something, just came, or are
        protected: those that this node relays for have no other way to be reached."""
        merits = {each: self.conduct.merit(PeerId(str(each.muxed_conn.peer_id))) for each in inbound}
        new = [each for each in inbound if merits[each] < NEWCOMER and not self._swarm.is_protected(each.muxed_conn.peer_id)]
        now = time.time()
        gone = whom_to_let_go([Guest(household(each.muxed_conn), merits[each], now - each._created_at) for each in new])
        if gone is None:
            return False
        with trio.move_on_after(HANG_UP_S):
            await self._swarm._close_connection_async(new[gone])
        return True


async def _read_line(reader: Any) -> bytes:
    """In the place of py-libp2p's read_delim, which makes room for as much as a stranger announces, before any handshake, and
    hands on what is no text, which ends the task that serves the connection. Raises ParseError, IOException."""
    line: bytes = await read_varint_prefixed_bytes_limited(reader, MAX_NEGOTIATION_BYTES)
    if not line.endswith(b"\n") or not line.isascii():
        raise ParseError("not a line of a negotiation")
    return line[:-1]
