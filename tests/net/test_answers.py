"""What the table answers this node is taken within limits."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
import trio
from google.protobuf.message import DecodeError
from libp2p.io.exceptions import IOException
from libp2p.kad_dht.common import BUCKET_SIZE, PROTOCOL_ID
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID
from libp2p.utils.varint import encode_uvarint, read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from meshgen.net.libp2p.addresses import MAX_BYTES, MAX_RECORD_BYTES, MOST
from meshgen.net.libp2p.answers import MAX_ANSWER_BYTES, read_answer
from meshgen.net.libp2p.keeping import MAX_ADDRESSES, PROVIDERS_PER_KEY
from tests.net.conftest import Libp2pWorld
from tests.net.test_addresses import made_up

ADDRESS = Multiaddr("/ip4/127.0.0.9/tcp/4711").to_bytes()


class Wire:
    def __init__(self, body: bytes) -> None:
        self.was_reset = False
        self._left = BytesIO(encode_uvarint(len(body)) + body)

    async def read(self, count: int) -> bytes:
        return self._left.read(count)

    async def reset(self) -> None:
        self.was_reset = True


def answer(ids: list[bytes], addresses: int = 1) -> Message:
    made = Message(type=Message.MessageType.FIND_NODE)
    for peers in (made.closerPeers, made.providerPeers):
        for each in ids:
            peers.add(id=each, addrs=[ADDRESS] * addresses)
    return made


async def taken(message: Message) -> Message:
    return Message.FromString(await read_answer(Wire(message.SerializeToString()), 1 << 40))


async def test_an_answer_is_cut_to_what_a_question_is_good_for() -> None:
    whole = answer([peer.to_bytes() for peer in made_up(10)])
    whole.key, whole.record.value = b"key", b"value"
    assert await taken(whole) == whole
    many = await taken(answer([peer.to_bytes() for peer in made_up(400)], addresses=20))
    assert [len(many.closerPeers), len(many.providerPeers)] == [BUCKET_SIZE, PROVIDERS_PER_KEY]
    assert all(len(peer.addrs) == MAX_ADDRESSES for peer in [*many.closerPeers, *many.providerPeers])


async def test_the_longest_that_an_honest_node_answers_is_taken() -> None:
    message, peers = Message(), [peer.to_bytes() for peer in made_up(PROVIDERS_PER_KEY)]
    for each in peers[:BUCKET_SIZE]:
        message.closerPeers.add(id=each, addrs=[bytes(MAX_BYTES)] * MOST, signedRecord=bytes(MAX_RECORD_BYTES + 200))
    for each in peers:
        message.providerPeers.add(id=each, addrs=[bytes(MAX_BYTES)] * MAX_ADDRESSES, signedRecord=bytes(MAX_RECORD_BYTES + 200))
    some = await taken(message)
    assert [len(some.closerPeers), len(some.providerPeers)] == [BUCKET_SIZE, PROVIDERS_PER_KEY]


async def test_what_is_no_peer_is_left_out() -> None:
    good = made_up(1)[0].to_bytes()
    some = await taken(answer([b"", b"\x01\x02\x03\x04", bytes(200), good, b"\x12\x20" + bytes(32)]))
    assert [peer.id for peer in some.closerPeers] == [peer.id for peer in some.providerPeers] == [good]


async def test_too_long_an_answer_is_none() -> None:
    ids = [number.to_bytes(4) for number in range(MAX_ANSWER_BYTES // 8)]
    for body, error in ((answer(ids).SerializeToString(), IOException), (b"junk", DecodeError)):
        wire = Wire(body)
        with pytest.raises(error):
            await read_answer(wire, 1 << 40)
        assert wire.was_reset, "the rest of it is not taken in"


async def test_whoever_answers_with_a_crowd_is_heard_in_part(libp2p_world: Libp2pWorld) -> None:
    """All three kinds of question, as they come over the wire."""
    a: Any = await libp2p_world.join(1)
    b: Any = await libp2p_world.join(2)
    asked: set[int] = set()

    async def exaggerate(stream: Any) -> None:
        question = Message.FromString(await read_varint_prefixed_bytes_limited(stream, 1 << 16))
        asked.add(question.type)
        crowd = answer([peer.to_bytes() for peer in made_up(1500, salt=question.type)])
        crowd.type, crowd.key = question.type, question.key
        body = crowd.SerializeToString()
        await stream.write(encode_uvarint(len(body)) + body)

    b._host.set_stream_handler(PROTOCOL_ID, exaggerate)
    with trio.fail_after(20):
        await a._dht.value_store._get_from_peer(ID.from_base58(b.peer_id), b"/test/key", return_closer_peers=True)
        await a._dht.provider_store._get_providers_from_peer_with_closers(ID.from_base58(b.peer_id), b"key")
        await a._dht.peer_routing._query_peer_for_closest(ID.from_base58(b.peer_id), b"key")
    assert asked == {Message.GET_VALUE, Message.GET_PROVIDERS, Message.FIND_NODE}
    assert len(a._host.get_peerstore().peer_ids()) <= 3 * BUCKET_SIZE + 10
