"""The gossip's router: what it says to its neighbours, and what it keeps to itself."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.rpc_queue import RpcQueue

from meshgen.net.libp2p import gossip as libp2p_gossip
from meshgen.net.libp2p.gossip import LAZY_PEERS, MAX_RPC_BYTES, MeshGossip
from meshgen.net.port import MAX_GOSSIP_BYTES

PEERS = [ID(bytes([number]) * 4) for number in range(40)]


def router(in_mesh: int) -> Any:
    """All PEERS are neighbours in a topic, so many of them in its mesh."""
    made: Any = MeshGossip()
    queues = {peer: RpcQueue() for peer in PEERS}
    made.pubsub = SimpleNamespace(peer_topics={"t": set(PEERS)}, peers=dict.fromkeys(PEERS), peer_queues=queues)
    made.peer_protocol = dict.fromkeys(PEERS, PROTOCOL_ID_V11)
    made.mesh = {"t": set(PEERS[:in_mesh])}
    return made


async def test_a_mesh_with_enough_neighbours_grafts_no_others() -> None:
    made = router(in_mesh=8)
    made.graft_flood_tracking[PEERS[0]]["t"] = time.time()
    made.emit_control_message = say_nothing
    await made.handle_graft(rpc_pb2.ControlGraft(topicID="t"), PEERS[0])  # a moment early
    grafts, prunes = made.mesh_heartbeat()
    await made._maintain_mesh_quality("t")
    assert not grafts and not prunes and not made._ensure_mesh_diversity("t")
    assert made.mesh["t"] == set(PEERS[:8])


async def say_nothing(*_: object) -> None:
    pass


async def test_each_neighbour_hears_what_is_for_it_alone() -> None:
    made, said = router(in_mesh=0), {}

    async def emit(control: Any, peer: ID) -> None:
        said[peer] = [[each.topicID for each in kind] for kind in (control.graft, control.prune, control.ihave)]

    made.emit_control_message = emit
    await made._emit_control_msgs(
        {PEERS[0]: ["a"], PEERS[1]: ["b"]},
        {PEERS[1]: ["c"], PEERS[2]: ["d"]},
        {PEERS[1]: {"e": [b"id"]}, PEERS[3]: {"f": [b"id"]}},
    )
    assert said == {
        PEERS[0]: [["a"], [], []],
        PEERS[1]: [["b"], ["c"], ["e"]],
        PEERS[2]: [[], ["d"], []],
        PEERS[3]: [[], [], ["f"]],
    }


def test_where_the_node_is_is_told_when_it_is_new() -> None:
    made = router(in_mesh=0)

    def told(record: bytes) -> bytes:
        made.send_rpc(PEERS[0], rpc_pb2.RPC(publish=[rpc_pb2.Message(data=b"x")], senderRecord=record))
        packet = made.pubsub.peer_queues[PEERS[0]]._queue.pop()
        assert packet.publish[0].data == b"x"
        return bytes(packet.senderRecord)

    assert [told(b"here"), told(b"here"), told(b"there"), told(b"there")] == [b"here", b"", b"there", b""]
    made.remove_peer(PEERS[0])
    assert told(b"there") == b"there"


def test_where_the_node_is_is_told_again_when_the_packet_found_no_room() -> None:
    made = router(in_mesh=0)
    made.pubsub.peer_queues[PEERS[0]] = queue = RpcQueue(max_size=1)
    for _ in range(2):
        made.send_rpc(PEERS[0], rpc_pb2.RPC(publish=[rpc_pb2.Message(data=b"x")]))
        made.send_rpc(PEERS[0], rpc_pb2.RPC(publish=[rpc_pb2.Message(data=b"x")], senderRecord=b"here"))
        assert not queue._queue.pop().senderRecord and queue._queue.pop() is None
    made.send_rpc(PEERS[0], rpc_pb2.RPC(publish=[rpc_pb2.Message(data=b"x")], senderRecord=b"here"))
    assert queue._queue.pop().senderRecord == b"here"


def test_what_was_heard_is_told_to_as_few_in_a_large_mesh() -> None:
    made = router(in_mesh=8)
    made.mcache = SimpleNamespace(window=lambda _topic: [b"id"])
    assert len(made.gossip_heartbeat()) == LAZY_PEERS


def message(number: int, size: int = 1) -> Any:
    return rpc_pb2.Message(data=bytes(size), topicIDs=["t"], from_id=b"from", seqno=bytes([number]))


def queued(made: Any) -> list[Any]:
    """Packets that wait for the first neighbour."""
    queue = made.pubsub.peer_queues[PEERS[0]]._queue
    return list(iter(queue.pop, None))


def test_what_is_sent_is_no_larger_than_what_is_read() -> None:
    made = router(in_mesh=0)
    largest = [message(number, MAX_GOSSIP_BYTES) for number in range(20)]
    made.send_rpc(PEERS[0], rpc_pb2.RPC(publish=largest, senderRecord=bytes(200)))
    packets = queued(made)
    assert [each for packet in packets for each in packet.publish] == largest
    assert all(packet.ByteSize() <= MAX_RPC_BYTES - 4096 for packet in packets)


async def test_all_that_is_sent_waits_in_one_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written past it, a message came amid another one's pieces, and neither could be read."""
    monkeypatch.setattr(libp2p_gossip, "env_to_send_in_RPC", lambda _host: (b"here", None))
    made = router(in_mesh=0)
    made.pubsub.host = None
    recent = [message(number, MAX_GOSSIP_BYTES - 100) for number in range(10)]
    for each in recent:
        made.mcache.put(each)
    await made.send_recent_messages(PEERS[0], "t")
    [packet] = queued(made)
    assert list(packet.publish) == recent[:6]  # the rest is had for an IWANT
    assert packet.senderRecord == b"here"

    for topic in ("t", "nobody's"):
        made._pending_messages[PEERS[0]].append((time.time(), rpc_pb2.RPC(publish=[rpc_pb2.Message(topicIDs=[topic])])))
    await made.flush_pending_messages(PEERS[0])
    [packet] = queued(made)
    assert [list(each.topicIDs) for each in packet.publish] == [["t"]]
    assert not made._pending_messages


def test_no_message_is_kept_for_longer_than_it_is_told() -> None:
    made = router(in_mesh=0)
    made._check_equivocation(message(1))
    made.gossip_heartbeat()
    assert not made.equivocation_detection


def test_nothing_is_kept_of_keys_that_are_gone() -> None:
    made = router(in_mesh=0)
    later = int(time.time()) + 1000
    made.back_off = {"t": {PEERS[0]: 0, PEERS[1]: later}, "u": {PEERS[2]: 0}}
    made._pending_messages[PEERS[0]].append((0.0, rpc_pb2.RPC()))
    made.gossip_heartbeat()
    assert made.back_off == {"t": {PEERS[1]: later}, "u": {}}
    assert not made._pending_messages
