"""What gossip keeps of what it hears."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from libp2p.peer.envelope import seal_record
from libp2p.peer.id import ID
from libp2p.peer.peer_record import PeerRecord
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_uvarint
from multiaddr import Multiaddr

from meshgen.net.conduct import Fault
from meshgen.net.libp2p.gossip import MAX_RECORD_BYTES, MAX_RPC_BYTES
from meshgen.net.port import PeerId
from tests.attackers.hands import Field, gossip, rpc, stranger, stream
from tests.net.conftest import Libp2pWorld, until

MESHSUB = "/meshsub/1.1.0"


def good(_sender: PeerId, _data: bytes) -> bool:
    return True


async def neighbours(world: Libp2pWorld) -> tuple[Any, Any, ID]:
    """Two that gossip with each other; what the first one's gossip calls the second."""
    a, b = await world.join(1), await world.join(2)
    name = ID.from_base58(b.peer_id)
    await until(lambda: name in a._pubsub.peers and a._pubsub.my_id in b._pubsub.peers)
    return a, b, name


# -- what is kept


def padded(message: Any, field: int) -> Any:
    """With a key, or in a field that no version has, as much as a packet takes that is no larger than any that is read."""
    head = encode_uvarint(field << 3 | 2)
    room = MAX_RPC_BYTES - len(message.SerializeToString()) - 16
    return rpc_pb2.Message.FromString(message.SerializeToString() + head + encode_uvarint(room) + bytes(room))


@pytest.mark.parametrize("field", [6, 77])
async def test_what_nobody_signed_is_not_passed_on(libp2p_world: Libp2pWorld, field: int) -> None:
    """With where the hub is before it, the packet would be larger than any that a newcomer reads."""
    hub, mallory, _ = await neighbours(libp2p_world)
    message = padded(gossip(stranger(), "t", b"x"), field)
    assert MAX_RPC_BYTES - 16 < len(rpc(message)) <= MAX_RPC_BYTES
    async with hub.subscribe("t", good) as heard:
        await (await stream(mallory, Field(hub.addresses()[0]), MESHSUB)).write(rpc(message))
        assert (await anext(heard)).data == b"x"
        newcomer: Any = await libp2p_world.join(3)
        async with newcomer.subscribe("t", good) as passed_on:
            with trio.fail_after(10):
                assert (await anext(passed_on)).data == b"x"
        [kept] = hub._pubsub.router.mcache.msgs.values()
        assert kept.ByteSize() < 200
    assert newcomer.conduct.score(hub.peer_id) == 0
    assert hub.conduct.score(mallory.peer_id) == 0  # he may have it from an older node


async def test_where_a_neighbour_is_is_said_in_few_words(libp2p_world: Libp2pWorld) -> None:
    hub, mallory, _ = await neighbours(libp2p_world)
    places = [Multiaddr(f"/ip4/192.0.2.1/tcp/{port}") for port in range(1, 1000)]
    record = PeerRecord(mallory._host.get_id(), places)
    packet = rpc_pb2.RPC(senderRecord=seal_record(record, mallory._host.get_private_key()).marshal_envelope())
    assert MAX_RECORD_BYTES < packet.ByteSize() < MAX_RPC_BYTES
    opened = await stream(mallory, Field(hub.addresses()[0]), MESHSUB)
    await opened.write(encode_uvarint(packet.ByteSize()) + packet.SerializeToString())
    await until(lambda: hub.conduct.score(mallory.peer_id) > Fault.JUNK / 2)
