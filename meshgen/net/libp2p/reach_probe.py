"""Can others dial this node? It asks them to try (AutoNAT v1), and tries for others in turn.

One who is asked dials only the address that the asker's own connection comes from, so nobody can be made to knock elsewhere, and
on a connection of its own, which ends with the handshake: what stands already proves nothing. py-libp2p's AutoNAT takes the
connection that it was asked on for the answer, so it finds everybody reachable.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.connection_types import ConnectionType
from libp2p.host.autonat.pb.autonat_pb2 import Message
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from meshgen.net.guard import shielded
from meshgen.net.libp2p.relay_wire import ANSWER_S, Pipe, Questions

AUTONAT = "/libp2p/autonat/1.0.0"
TRY_S = 4.0
"""For dialling back; more than a SYN and its first repetition take, less than the asker waits."""
MAX_TRIES = 4
"""Addresses of one asker, all of the same IP."""
AT_ONCE = 8
"""Askers served at the same time; others are refused, which says nothing about them."""
AGAIN_S = 3.0
"""How soon the same peer may ask again."""
MAX_ASKERS = 1024

assert TRY_S < ANSWER_S


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a peer could dial this node back, and where. None: it did not try."""

    reached: bool | None
    address: Multiaddr | None = None


class Prober:
    """Both sides of AutoNAT."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._swarm = host.get_network()
        self._busy = 0
        self._questions = Questions()
        self._asked_s: dict[ID, float] = {}
        host.set_stream_handler(AUTONAT, self._serve)

    # -- asking
    async def ask(self, peer: ID, addresses: Iterable[Multiaddr]) -> Verdict:
        """What the peer found when it dialled those of the addresses that it sees this node's connection come from."""
        asked = [address.to_bytes() for address in addresses]
        question = Message(type=Message.DIAL)
        question.dial.peer.id = self._host.get_id().to_bytes()
        question.dial.peer.addrs.extend(asked)
        try:
            pipe = Pipe(await self._host.new_stream(peer, [AUTONAT]))
        except (StreamFailure, SwarmException, IOException):
            return Verdict(None)
        try:
            await pipe.say(question)
            answer = (await pipe.hear(Message)).dialResponse
        except IOException:
            return Verdict(None)
        finally:
            await pipe.reset()
        if answer.status == Message.OK and (place := place_of(answer.addr)) is not None:
            found = tcp_address(*place)  # another than those asked about would send everybody to a third
            return Verdict(True, found) if found.to_bytes() in asked else Verdict(None)
        return Verdict(False if answer.status == Message.E_DIAL_ERROR else None)

    # -- answering
    async def _serve(self, stream: Any) -> None:
        pipe = Pipe(stream)
        try:
            answer = await self._answer(stream, await self._questions.hear(pipe, Message))
            await pipe.say(answer)
            await pipe.end()
            with trio.move_on_after(1.0):
                await pipe.take()
        except IOException:
            pass  # the asker went away, or sent what is no question
        finally:
            await pipe.reset()

    async def _answer(self, stream: Any, question: Message) -> Message:
        asker = stream.muxed_conn.peer_id
        if question.type != Message.DIAL or question.dial.peer.id != asker.to_bytes():
            return _response(Message.E_BAD_REQUEST)
        candidates = _from_where_it_comes(stream, question)
        if not candidates or self._busy >= AT_ONCE or not self._is_due(asker):
            return _response(Message.E_DIAL_REFUSED)
        self._busy += 1
        try:
            with trio.move_on_after(TRY_S):
                for address in candidates:
                    if await answers_at(self._swarm, asker, address):
                        return _response(Message.OK, address)
        finally:
            self._busy -= 1
        return _response(Message.E_DIAL_ERROR)

    def _is_due(self, asker: ID) -> bool:
        now = trio.current_time()
        if now - self._asked_s.get(asker, -AGAIN_S) < AGAIN_S:
            return False
        if len(self._asked_s) >= MAX_ASKERS:
            self._asked_s = {peer: asked_s for peer, asked_s in self._asked_s.items() if now - asked_s < AGAIN_S}
        self._asked_s[asker] = now
        return len(self._asked_s) <= MAX_ASKERS


async def answers_at(swarm: Any, peer: ID, address: Multiaddr) -> bool:
    """Dial, see that it is this peer who answers, hang up."""
    connection = None
    try:
        connection = await swarm.transport_manager.transport_for_dialing(address).dial(address)
        await swarm.upgrader.upgrade_security(connection, True, peer)
    except Exception:  # noqa: BLE001 - nobody there, or somebody whose bytes make no handshake
        return False
    finally:
        if connection is not None:
            with shielded(1.0), suppress(IOException, OSError):
                await connection.close()
    return True


def _from_where_it_comes(stream: Any, question: Message) -> list[Multiaddr]:
    """The asker's TCP addresses at the IP that it is seen at. None over a relay, where it is seen at none."""
    remote = stream.muxed_conn.get_remote_address()
    if remote is None or stream.muxed_conn.get_connection_type() is ConnectionType.RELAYED:
        return []
    ip = remote[0].removeprefix("::ffff:")
    places = [place for raw in question.dial.peer.addrs[:32] if (place := place_of(raw)) is not None and place[0] == ip]
    return [tcp_address(*place) for place in list(dict.fromkeys(places))[:MAX_TRIES]]


def place_of(raw: bytes) -> tuple[str, int] | None:
    """IP and port of a TCP address; None for any other one."""
    try:
        address = Multiaddr(raw)
        names = [protocol.name for protocol in address.protocols()]
        if names[:2] not in (["ip4", "tcp"], ["ip6", "tcp"]) or names[2:] not in ([], ["p2p"]):
            return None
        return str(address.value_for_protocol(names[0])), int(address.value_for_protocol("tcp"))
    except Exception:  # noqa: BLE001 - the library raises a dozen unrelated types for malformed bytes
        return None


def tcp_address(ip: str, port: int) -> Multiaddr:
    return Multiaddr(f"/{'ip6' if ':' in ip else 'ip4'}/{ip}/tcp/{port}")


def _response(status: Message.ResponseStatus.ValueType, address: Multiaddr | None = None) -> Message:
    answer = Message(type=Message.DIAL_RESPONSE)
    answer.dialResponse.status = status
    if address is not None:
        answer.dialResponse.addr = address.to_bytes()
    return answer
