"""What gossip keeps of what it hears, and how the streams that it goes over begin, end and begin again."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from libp2p.host.exceptions import StreamFailure
from libp2p.network.stream.exceptions import StreamReset
from libp2p.peer.envelope import seal_record
from libp2p.peer.id import ID
from libp2p.peer.peer_record import PeerRecord
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.utils.varint import encode_uvarint
from multiaddr import Multiaddr

from meshgen.net.conduct import Buckets, Fault
from meshgen.net.libp2p.addresses import MAX_RECORD_BYTES
from meshgen.net.libp2p.gossip import MAX_RPC_BYTES, OPENINGS_S, STREAMS, MeshPubsub, _is_sound
from meshgen.net.port import PeerId
from tests.attackers.hands import Field, gossip, rpc, stranger, stream
from tests.net.conftest import Libp2pWorld, until

MESHSUB = "/meshsub/1.1.0"
NEIGHBOUR = ID(b"\x00\x01n")


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


@pytest.mark.parametrize("size", [0, 7, 9, 16])
def test_a_message_is_numbered_as_everybody_reads_it(size: int) -> None:
    message = gossip(stranger(), "t", b"x")
    assert _is_sound(message)
    message.seqno = bytes(size)
    assert not _is_sound(message)


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


# -- streams


@pytest.mark.parametrize("failures", [2, 4])
async def test_a_stream_that_fails_before_it_is_begun_is_opened_again(libp2p_world: Libp2pWorld, failures: int) -> None:
    a, b, name = await neighbours(libp2p_world)
    done = a._pubsub.router.flush_pending_messages
    left = [None] * failures

    async def fail(peer: ID) -> None:
        """What runs between a stream's registration and the end of the task that opened it."""
        if left:
            left.pop()
            a._pubsub._handle_dead_peer(peer)
        await done(peer)

    a._pubsub.router.flush_pending_messages = fail
    a._pubsub._handle_dead_peer(name)
    await until(lambda: not left and name in a._pubsub.peers)
    await hears(b, a)


async def hears(b: Any, a: Any) -> None:
    async with b.subscribe("t", good) as heard:
        await until(lambda: a._pubsub.peer_topics.get("t"))
        await a.publish("t", b"said")
        with trio.fail_after(10):
            assert (await anext(heard)).data == b"said"


@pytest.mark.parametrize("error", [StreamFailure("the other side is slow"), StreamReset()], ids=repr)
async def test_a_stream_that_can_not_be_opened_is_tried_again(libp2p_world: Libp2pWorld, error: Exception) -> None:
    a, b, name = await neighbours(libp2p_world)
    once, new_stream = [error], a._host.new_stream

    async def fail(peer: ID, protocols: Any) -> Any:
        if MESHSUB in protocols and once:
            raise once.pop()
        return await new_stream(peer, protocols)

    a._host.new_stream = fail
    a._pubsub._handle_dead_peer(name)
    await until(lambda: not once and name in a._pubsub.peers)
    await hears(b, a)


async def test_a_stream_that_is_given_up_ends_at_the_other_side(libp2p_world: Libp2pWorld) -> None:
    """It would be one of its STREAMS there, and after so many the other side would refuse every new one."""
    a, b, name = await neighbours(libp2p_world)
    for _ in range(STREAMS + 1):
        a._pubsub._handle_dead_peer(name)
        await until(lambda: name in a._pubsub.peers and b._pubsub._reading[a.peer_id] == 1)
    assert b.conduct.score(a.peer_id) == 0
    await hears(b, a)


async def test_a_stream_that_was_given_up_does_not_take_the_next_one_along(libp2p_world: Libp2pWorld) -> None:
    a, _, name = await neighbours(libp2p_world)
    old = a._pubsub.peers[name]
    await old.reset()
    a._pubsub._handle_dead_peer(name)
    await until(lambda: name in a._pubsub.peers)
    new = a._pubsub.peers[name]
    assert not await a._pubsub.write_msg(old, rpc_pb2.RPC())
    assert a._pubsub.peers[name] is new
    assert await a._pubsub.write_msg(new, rpc_pb2.RPC())


class Openings:
    """A Pubsub's, of streams to one neighbour with whom it has a connection; by the base's part, none is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tries = 0
        self.pubsub: Any = object.__new__(MeshPubsub)
        self.pubsub.peers, self.pubsub._opening = {}, set()
        self.pubsub._openings = Buckets(OPENINGS_S, 3, trio.current_time)
        self.pubsub._peer_is_connected = lambda _peer: self.connected
        self.connected = True
        monkeypatch.setattr(Pubsub, "_handle_new_peer_with_retry", self._try)

    async def _try(self, _peer: ID) -> None:
        await trio.lowlevel.checkpoint()
        self.tries += 1

    async def open(self) -> None:
        await self.pubsub._handle_new_peer_with_retry(NEIGHBOUR)


async def test_who_ends_each_stream_at_once_is_opened_few(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    openings = Openings(monkeypatch)
    with trio.move_on_after(10.5 / OPENINGS_S):
        await openings.open()
    assert openings.tries == 13


async def test_one_stream_is_opened_at_a_time(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    """For two connections that came at once there were two, of which one was never used nor closed."""
    openings = Openings(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(openings.open)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            await openings.open()
        openings.connected = False
    assert openings.tries == 3  # of the first one


async def test_nobody_is_dialled_for_gossip_who_left_meanwhile(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    openings = Openings(monkeypatch)
    openings.pubsub._openings.owe(NEIGHBOUR, 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(openings.open)
        await trio.testing.wait_all_tasks_blocked()
        openings.connected = False
    assert not openings.tries
