"""Circuits seen from their ends: reserve at a relay, dial through one, take what comes through one.

A circuit is the ground of a whole libp2p connection: Noise and Yamux run between the two ends, on a stream through the relay.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import trio
from libp2p.connection_types import ConnectionType
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from multiaddr import Multiaddr

from meshgen.net.guard import where
from meshgen.net.libp2p.addresses import is_peer, read_address
from meshgen.net.libp2p.reach_probe import answers_at, place_of
from meshgen.net.libp2p.reach_votes import is_global
from meshgen.net.libp2p.relay_wire import HOP, STOP, HopMessage, Pipe, Questions, Status, StopMessage
from meshgen.net.port import PeerId, Unreachable

MAX_HANDSHAKES = 32
"""Circuits that are being set up at the same time; further ones are refused."""
MAX_TAKEN = 96
"""Circuits that came in, of all relays together: room is left for those who come directly, and those whom this node dials."""
LEAST_BYTES, LEAST_S = 256 * 1024 * 1024, 3600
"""A relay whose limits for a circuit are lower is of no use: other meshes' relays carry 128 KiB for two minutes by default."""
SKEWED_S = 120.0
"""What a reservation is taken for that seems to be over already: the relay's clock is another."""
MAX_READ = 8
MAX_ADDRESSES = 2
"""Of one relay, that others are told."""
LOOK_S = 2.0
"""For finding a relay at an address that it names."""
MAX_COUNTED = 256
"""Relays whose bytes are counted one by one; of one more, the one with least is forgotten."""
REFUSALS = {
    Status.RESERVATION_REFUSED: "has no room for another node",
    Status.RESOURCE_LIMIT_EXCEEDED: "carries as many circuits as it wants to",
    Status.PERMISSION_DENIED: "is no relay for this node: it serves those alone whom its owner and the mesh's charter let in",
    Status.CONNECTION_FAILED: "did not get through to the peer",
    Status.NO_RESERVATION: "knows no way to the peer",
}


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation that a relay holds for this node."""

    relay: ID
    until_s: float
    """In trio's time."""
    addresses: tuple[Multiaddr, ...]
    """``<where the relay is>/p2p/<relay>/p2p-circuit``; what others dial, with this node's ``/p2p/`` behind it."""


class Circuits:
    """The dialling side (HOP out) and the taking side (STOP in)."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._swarm = host.get_network()
        self.expected: set[ID] = set()
        """Relays that circuits may come in from: those that hold a reservation."""
        self._handshakes = 0
        self._taken = 0
        self._questions = Questions()
        self.moved = 0
        """Bytes of this node's own, both ways, through whatever relay."""
        self.dialled: Counter[PeerId] = Counter()
        """Of these, by relay, those on circuits that this node dialled."""
        host.set_stream_handler(STOP, self._serve)

    # -- out
    async def reserve(self, relay: ID) -> Held:
        """Ask a connected peer for a reservation, or to renew one. Raises Unreachable with its reason."""
        asked_s = trio.current_time()
        answer = await self._ask(relay, HopMessage(type=HopMessage.RESERVE))
        if not answer.HasField("reservation"):
            raise Unreachable(f"{relay} does not take this node on")
        if 0 < answer.limit.data < LEAST_BYTES or 0 < answer.limit.duration < LEAST_S:
            raise Unreachable(f"{relay} ends circuits sooner than a picture is sent")
        lifetime_s = answer.reservation.expire - time.time()
        until_s = asked_s + (lifetime_s if lifetime_s > 0 else SKEWED_S)
        return Held(relay, until_s, await self._addresses(relay, answer.reservation.addrs))

    async def _ask(self, relay: ID, question: HopMessage) -> HopMessage:
        pipe = await self._open(relay)
        try:
            return await _asked(pipe, relay, question)
        finally:
            await pipe.reset()

    async def _open(self, relay: ID) -> Pipe:
        try:
            return Pipe(await self._host.new_stream(relay, [HOP]), partial(self._count_dialled, PeerId(str(relay))))
        except (StreamFailure, SwarmException, IOException) as error:
            raise Unreachable(f"{relay} is no relay") from error

    def _count(self, count: int) -> None:
        self.moved += count

    def _count_dialled(self, relay: PeerId, count: int) -> None:
        self._count(count)
        self.dialled[relay] += count
        if len(self.dialled) > MAX_COUNTED:
            del self.dialled[min(self.dialled, key=self.dialled.__getitem__)]

    async def _addresses(self, relay: ID, told: Iterable[bytes]) -> tuple[Multiaddr, ...]:
        """What this node reached the relay by, then what it says of itself, as far as that is true: this node tells it to others,
        who would all dial whatever a false relay names."""
        suffix = Multiaddr(f"/p2p/{relay}")
        connections = self._swarm.get_connections(relay)
        outbound = [each for each in connections if each.direction is Direction.OUTBOUND]
        dialled = [_without(address, suffix) for each in outbound for address in each.get_transport_addresses()]
        said = [_without(address, suffix) for raw in islice(told, MAX_READ) if (address := read_address(raw)) is not None]
        ways = list(filter(_is_tcp, dict.fromkeys([*dialled, *said])))
        ips = {remote[0].removeprefix("::ffff:") for each in connections if (remote := each.muxed_conn.get_remote_address())}
        found = [each for each in ways if each in dialled or _ip(each) in ips][:MAX_ADDRESSES]
        with trio.move_on_after(LOOK_S):
            for each in [each for each in ways if each not in found and _leads_out(each)][: MAX_ADDRESSES - len(found)]:
                found += [each] * await answers_at(self._swarm, relay, each)
        return tuple(each.encapsulate(suffix).encapsulate(Multiaddr("/p2p-circuit")) for each in found)

    async def dial(self, peer: ID, through: Multiaddr) -> None:
        """Connect to a peer through a relay that this node is connected to already. Raises Unreachable, SwarmException."""
        relay = relay_of(through)
        pipe = await self._open(relay)
        try:
            question = HopMessage(type=HopMessage.CONNECT)
            question.peer.id = peer.to_bytes()
            await _asked(pipe, relay, question)
            address = through.encapsulate(Multiaddr(f"/p2p/{peer}"))
            await self._swarm.upgrade_outbound_raw_conn(_ground(pipe, initiator=True, address=address), peer)
        except (SwarmException, Unreachable):
            await pipe.reset()
            raise
        except Exception as error:  # what Noise raises for bytes that don't decrypt is its secret
            await pipe.reset()
            raise Unreachable(f"{peer} shakes no hands through {relay}: {where(error)}") from error
        except BaseException:
            await pipe.reset()
            raise

    # -- in
    async def _serve(self, stream: Any) -> None:
        """Runs for as long as the connection that comes through lives, so that the stream stays accounted for."""
        relay = stream.muxed_conn.peer_id
        pipe = Pipe(stream, self._count)
        try:
            request = await self._questions.hear(pipe, StopMessage)
            status = self._judge(relay, request)
            await pipe.say(StopMessage(type=StopMessage.STATUS, status=status))
            if status == Status.OK:
                self._taken += 1
                try:
                    await self._take(pipe, relay, ID(request.peer.id))
                finally:
                    self._taken -= 1
        except (IOException, SwarmException):
            pass  # the relay or who came through it went away
        finally:
            await pipe.reset()

    def _judge(self, relay: ID, request: StopMessage) -> Status.ValueType:
        if request.type != StopMessage.CONNECT:
            return Status.UNEXPECTED_MESSAGE
        if not is_peer(ID(request.peer.id)):
            return Status.MALFORMED_MESSAGE
        if relay not in self.expected:
            return Status.PERMISSION_DENIED
        full = self._handshakes >= MAX_HANDSHAKES or self._taken >= MAX_TAKEN
        return Status.RESOURCE_LIMIT_EXCEEDED if full else Status.OK

    async def _take(self, pipe: Pipe, relay: ID, source: ID) -> None:
        address = Multiaddr(f"/p2p/{relay}/p2p-circuit/p2p/{source}")
        self._handshakes += 1
        try:
            connection = await self._swarm.upgrade_inbound_raw_conn(_ground(pipe, initiator=False, address=address), address)
        finally:
            self._handshakes -= 1
        if connection.peer_id == source:
            await connection.event_closed.wait()
        else:
            await connection.close()  # the relay had named another


def relay_of(through: Multiaddr) -> ID:
    """The relay in ``.../p2p/<relay>/p2p-circuit``."""
    return ID.from_base58(through.value_for_protocol("p2p"))


def is_circuit(address: Multiaddr) -> bool:
    return "p2p-circuit" in [protocol.name for protocol in address.protocols()]


async def _asked(pipe: Pipe, relay: ID, question: HopMessage) -> HopMessage:
    """Raises Unreachable with the relay's reason."""
    try:
        await pipe.say(question)
        answer = await pipe.hear(HopMessage)
    except IOException as error:
        raise Unreachable(f"the relay {relay} does not answer") from error
    if answer.type != HopMessage.STATUS or answer.status != Status.OK:
        raise Unreachable(f"the relay {relay} {REFUSALS.get(answer.status, 'refused')}")
    return answer


def _ground(pipe: Pipe, *, initiator: bool, address: Multiaddr) -> RawConnection:
    return RawConnection(pipe, initiator, connection_type=ConnectionType.RELAYED, addresses=[address])


def _ip(address: Multiaddr) -> str:
    """ "" for a name."""
    place = place_of(address.to_bytes())
    return place[0] if place else ""


def _leads_out(address: Multiaddr) -> bool:
    """A name, or an IP of the whole internet: nobody looks for a relay in other people's networks."""
    ip = _ip(address)
    return not ip or is_global(ip)


def _without(address: Multiaddr, suffix: Multiaddr) -> Multiaddr:
    return address.decapsulate(suffix) if str(address).endswith(str(suffix)) else address


def _is_tcp(address: Multiaddr) -> bool:
    return [protocol.name for protocol in address.protocols()][1:] == ["tcp"]
