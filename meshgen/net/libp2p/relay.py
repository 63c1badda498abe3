"""A relay for others: peers that nobody can dial keep a reservation here, and are reached through circuits (circuit relay v2).

A relay sees who talks to whom and how much, never what: the two ends encrypt between themselves. What it takes on is bounded;
what goes beyond is refused with the protocol's own words, and a line that is full slows circuits down rather than ending them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import trio
from libp2p.connection_types import ConnectionType
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID

from meshgen.net.libp2p.addresses import household, is_peer
from meshgen.net.libp2p.relay_switch import RelayLimits, Switch
from meshgen.net.libp2p.relay_wire import HOP, STOP, BadMessage, HopMessage, Pipe, Questions, Status, StopMessage
from meshgen.net.port import PeerId

RESERVATIONS_PER_HOUSEHOLD = 8
"""From one address. Keys cost nothing: else one machine would hold all of them."""
TAG = "relay"
"""Keeps connections that carry reservations from being pruned."""


class Relay:
    """The serving side: HOP in, STOP out."""

    def __init__(self, host: Any, limits: RelayLimits, is_open: Callable[[], bool], is_served: Callable[[PeerId], bool]) -> None:
        """``is_open``: does it take reservations now? ``is_served``: for this peer, at either end of a circuit?"""
        self._host = host
        self._swarm = host.get_network()
        self._limits = limits
        self._is_open = is_open
        self._is_served = is_served
        self._reserved: dict[ID, float] = {}  # until when, in trio's time
        self._questions = Questions()
        self._switch = Switch(limits)
        host.set_stream_handler(HOP, self._serve)

    @property
    def carried(self) -> int:
        """Bytes carried for others, both ways."""
        return self._switch.carried

    @property
    def reservations(self) -> int:
        return len(self._reserved)

    @property
    def circuits(self) -> int:
        return len(self._switch)

    async def _serve(self, stream: Any) -> None:
        pipe = Pipe(stream)
        try:
            request = await self._questions.hear(pipe, HopMessage)
            if request.type == HopMessage.RESERVE:
                await self._reserve(stream, pipe)
            elif request.type == HopMessage.CONNECT:
                await self._connect(stream, pipe, request)
            else:
                await _refuse(pipe, Status.UNEXPECTED_MESSAGE)
        except BadMessage:
            await _refuse(pipe, Status.MALFORMED_MESSAGE)
        except IOException:
            pass  # the asker went away
        finally:
            await pipe.reset()

    # -- reservations
    async def _reserve(self, stream: Any, pipe: Pipe) -> None:
        peer = stream.muxed_conn.peer_id
        status = self._judge_reservation(peer, stream)
        if status != Status.OK:
            await _refuse(pipe, status)
            return
        self._reserved[peer] = trio.current_time() + self._limits.reservation_s
        self._swarm.protect(peer, TAG)
        answer = HopMessage(type=HopMessage.STATUS, status=Status.OK)
        answer.reservation.expire = int(time.time() + self._limits.reservation_s)
        answer.reservation.addrs.extend(address.to_bytes() for address in self._host.get_addrs() if not _is_circuit(address))
        await pipe.say(answer)
        await _linger(pipe)

    def _judge_reservation(self, peer: ID, stream: Any) -> Status.ValueType:
        if not self._is_open() or not _is_direct(stream) or not self._serves(peer):
            return Status.PERMISSION_DENIED
        self._sweep_reservations(lambda _: True)
        full = len(self._reserved) >= self._limits.reservations or self._is_crowded(household(stream.muxed_conn))
        if peer not in self._reserved and full:
            return Status.RESERVATION_REFUSED
        return Status.OK

    def _is_crowded(self, home: str) -> bool:
        """Does it hold as many as one address may?"""
        held = (each for peer in self._reserved for each in self._swarm.get_connections(peer)[:1])
        return bool(home) and sum(household(each.muxed_conn) == home for each in held) >= RESERVATIONS_PER_HOUSEHOLD

    def sweep(self) -> None:
        """End what is over, and what is of peers that are served no longer. From time to time: it asks for each of them."""
        self._sweep_reservations(self._serves)
        self._switch.sweep(self._serves)

    def _sweep_reservations(self, is_served: Callable[[ID], bool]) -> None:
        """They end with their time, or with the connection that they were made on."""
        now = trio.current_time()
        for peer, until_s in list(self._reserved.items()):
            if until_s <= now or not self._is_near(peer) or not is_served(peer):
                del self._reserved[peer]
                self._swarm.unprotect(peer, TAG)

    def _serves(self, peer: ID) -> bool:
        return is_peer(peer) and self._is_served(PeerId(str(peer)))

    def _is_near(self, peer: ID) -> bool:
        return any(
            not each.is_closed and each.get_connection_type() is not ConnectionType.RELAYED
            for each in self._swarm.get_connections(peer)
        )

    # -- circuits
    async def _connect(self, stream: Any, pipe: Pipe, request: HopMessage) -> None:
        source, target = stream.muxed_conn.peer_id, ID(request.peer.id)
        status = self._judge_circuit(source, target, stream)
        if status != Status.OK:
            await _refuse(pipe, status)
            return
        with self._switch.opened(source, target, household(stream.muxed_conn)) as circuit:
            onward = await self._ask(source, target)
            if onward is None:
                await _refuse(pipe, Status.CONNECTION_FAILED)
                return
            try:
                await pipe.say(HopMessage(type=HopMessage.STATUS, status=Status.OK))
                await self._switch.splice(circuit, pipe, onward)
            finally:
                await onward.reset()

    def _judge_circuit(self, source: ID, target: ID, stream: Any) -> Status.ValueType:
        if not _is_direct(stream) or source == target or not self._serves(source):
            return Status.PERMISSION_DENIED
        self._sweep_reservations(lambda _: True)
        if target not in self._reserved or not self._serves(target):
            return Status.NO_RESERVATION
        has_room = self._switch.has_room(source, target, household(stream.muxed_conn))
        return Status.OK if has_room else Status.RESOURCE_LIMIT_EXCEEDED

    async def _ask(self, source: ID, target: ID) -> Pipe | None:
        """Whether the target takes the circuit; a stream to it if it does."""
        try:
            onward = Pipe(await self._host.new_stream(target, [STOP]))
        except (StreamFailure, SwarmException, IOException):
            return None
        question = StopMessage(type=StopMessage.CONNECT)
        question.peer.id = source.to_bytes()
        try:
            await onward.say(question)
            answer = await onward.hear(StopMessage)
        except IOException:
            await onward.reset()
            return None
        except BaseException:
            await onward.reset()
            raise
        if answer.type == StopMessage.STATUS and answer.status == Status.OK:
            return onward
        await onward.reset()
        return None


async def _refuse(pipe: Pipe, status: Status.ValueType) -> None:
    try:
        await pipe.say(HopMessage(type=HopMessage.STATUS, status=status))
        await _linger(pipe)
    except IOException:
        pass  # it does not want to know


async def _linger(pipe: Pipe) -> None:
    """End our side, and let the other one close: resetting at once would overtake the answer."""
    await pipe.end()
    with trio.move_on_after(1.0):
        await pipe.take()


def _is_direct(stream: Any) -> bool:
    """Circuits over circuits would have two relays carry what one can, and loops carry for ever."""
    return bool(stream.muxed_conn.get_connection_type() is not ConnectionType.RELAYED)


def _is_circuit(address: Any) -> bool:
    return "/p2p-circuit" in str(address)
