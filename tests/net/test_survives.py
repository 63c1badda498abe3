"""What a peer says wrongly ends its stream, never a task that the node needs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from libp2p import new_host
from libp2p.crypto.secp256k1 import create_new_key_pair as secp256k1_keys
from libp2p.crypto.x25519 import create_new_key_pair as x25519_keys
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.exceptions import StreamFailure
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.identity.update import update_peerstore_from_identify
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from multiaddr import Multiaddr

from meshgen.net.libp2p.addresses import MAX_BYTES, MOST, read_address
from meshgen.net.libp2p.relay_wire import HOP, STOP, HopMessage, Pipe, Status, StopMessage
from meshgen.net.port import Unreachable, request
from tests.net.conftest import Libp2pWorld, echo, identity, until
from tests.net.test_relay import hub_and

ECHO = "/test/echo/1"
BAD = (b"\xff\xff", b"\x35\x0cb\xc3\xbccher.test\x06\x00\x01", b"\x00", b"", b"\x04\x01\x02\x03\x04\x06", bytes(MAX_BYTES + 1))


@pytest.mark.parametrize("raw", BAD)
def test_what_is_no_address_is_none(raw: bytes) -> None:
    assert read_address(raw) is None


def test_an_address_is_read() -> None:
    address = Multiaddr("/ip4/192.0.2.1/tcp/4001")
    assert read_address(address.to_bytes()) == address


async def test_a_handler_that_trips_ends_its_stream_alone(libp2p_world: Libp2pWorld) -> None:
    """As it comes, it ends the swarm, and with it the node."""
    a: Any = await libp2p_world.join(1)
    b: Any = await libp2p_world.join(2)
    a.serve(ECHO, echo)

    async def trip(_stream: Any) -> None:
        raise ValueError("somebody's bytes")

    a._host.set_stream_handler("/test/trip/1", trip)
    with suppress(StreamFailure):  # it may be over before it is agreed on
        await b._host.new_stream(ID.from_base58(a.peer_id), ["/test/trip/1"])
    await until(lambda: a.conduct.score(b.peer_id) > 0)
    assert await request(b, a.peer_id, ECHO, b"alive") == b"alive"


async def test_a_peer_with_a_key_of_another_kind_is_not_let_in(libp2p_world: Libp2pWorld) -> None:
    """Everything above the net takes a peer id for an Ed25519 key."""
    net: Any = await libp2p_world.join(1)
    keys = secp256k1_keys()
    host = new_host(key_pair=keys, sec_opt={NOISE: NoiseTransport(keys, noise_privkey=x25519_keys().private_key)})
    async with host.run([]):
        with suppress(BaseLibp2pError):  # it may learn of it later than it is connected
            await host.connect(info_from_p2p_addr(Multiaddr(net.addresses()[0])))
        await until(lambda: not host.get_network().get_connections())
    assert not net.links()


async def test_a_relay_that_brings_nobody_harms_nobody(libp2p_world: Libp2pWorld) -> None:
    hub, a = await hub_and(libp2p_world, 2)
    question = StopMessage(type=StopMessage.CONNECT)
    question.peer.id = b"\x00"
    pipe = Pipe(await hub._host.new_stream(ID.from_base58(a.peer_id), [STOP]))
    await pipe.say(question)
    assert (await pipe.hear(StopMessage)).status == Status.MALFORMED_MESSAGE
    assert await request(hub, a.peer_id, ECHO, b"alive") == b"alive"


async def test_a_relay_that_says_nonsense_in_a_peers_place_is_passed_over(libp2p_world: Libp2pWorld) -> None:
    hub: Any = await libp2p_world.join(1)
    a: Any = await libp2p_world.join(2)

    async def pretend(stream: Any) -> None:
        pipe = Pipe(stream)
        await pipe.hear(HopMessage)
        await pipe.say(HopMessage(type=HopMessage.STATUS, status=Status.OK))
        await pipe.write(b"\x13/multistream/1.0.0\n\x07/noise\n" + (200).to_bytes(2) + bytes(200))
        await pipe.take()

    hub._host.set_stream_handler(HOP, pretend)
    with pytest.raises(Unreachable, match="shakes no hands"):
        await a.connect(f"{hub.addresses()[0]}/p2p-circuit/p2p/{identity(9).peer_id}")


async def test_addresses_of_a_relay_that_are_none_are_passed_over(libp2p_world: Libp2pWorld) -> None:
    hub: Any = await libp2p_world.join(1)

    async def grant(stream: Any) -> None:
        pipe = Pipe(stream)
        await pipe.hear(HopMessage)
        answer = HopMessage(type=HopMessage.STATUS, status=Status.OK)
        answer.reservation.expire = 2**40
        answer.reservation.addrs.extend(BAD)
        await pipe.say(answer)
        await pipe.end()

    hub._host.set_stream_handler(HOP, grant)
    a: Any = await libp2p_world.join(2, listen=[])
    await until(lambda: a.reach().relays)
    assert a.addresses() == [f"{hub.addresses()[0]}/p2p-circuit/p2p/{a.peer_id}"]


async def test_addresses_that_are_none_are_not_kept(libp2p_world: Libp2pWorld) -> None:
    hub: Any = await libp2p_world.join(1)
    a: Any = await libp2p_world.join(2)
    peer, store = ID.from_base58(hub.peer_id), a._host.get_peerstore()
    good = [Multiaddr(f"/ip4/192.0.2.1/tcp/{port}").to_bytes() for port in range(1, 2 * MOST)]
    await update_peerstore_from_identify(store, peer, Identify(listen_addrs=[*BAD, *good]))
    assert [each.to_bytes() for each in store.addrs(peer)] == good[:MOST]
    assert len(a.dialer._known_addresses(peer)) == MOST
    assert not a._ways.reachability._is_hidden()
