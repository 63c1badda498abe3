"""What gossip's neighbours say beside messages is bounded before the router hears it."""

from __future__ import annotations

from libp2p.pubsub.pb import rpc_pb2

from meshgen.net.libp2p.control import BACK_OFF_S, MAX_ANSWER_BYTES, MOST, bounded, wanted
from meshgen.net.port import MAX_GOSSIP_BYTES


def test_topics_that_nobody_listens_to_are_left_out() -> None:
    said = rpc_pb2.ControlMessage()
    for topic in ("t", *map(str, range(10))):
        said.ihave.add(topicID=topic, messageIDs=[b"00"])
        said.graft.add(topicID=topic)
        said.prune.add(topicID=topic)
    kept = bounded(said, {"t"})
    assert [each.topicID for each in (*kept.ihave, *kept.graft, *kept.prune)] == ["t"] * 3
    assert list(kept.ihave[0].messageIDs) == list(said.ihave[0].messageIDs)


def test_a_prune_names_nobody_to_dial_and_ends() -> None:
    said = rpc_pb2.ControlMessage()
    said.prune.add(topicID="t", backoff=2**40).peers.add(peerID=b"somebody", signedPeerRecord=b"elsewhere")
    [kept] = bounded(said, {"t"}).prune
    assert not kept.peers
    assert kept.backoff == BACK_OFF_S


def test_so_many_of_each_kind() -> None:
    said = rpc_pb2.ControlMessage()
    for _ in range(2 * MOST):
        said.iwant.add(messageIDs=[b"00"])
        said.graft.add(topicID="t")
    kept = bounded(said, {"t"})
    assert len(kept.iwant) == len(kept.graft) == MOST


def test_a_message_is_sent_once_however_often_it_is_wanted() -> None:
    cache = {bytes([number]): rpc_pb2.Message(data=bytes(MAX_GOSSIP_BYTES - 100)) for number in range(100)}
    assert len([*wanted([b"07"] * 10_000, cache)]) == 1
    assert not [*wanted([b"no hex", b"", b"ff"], cache)]
    packet = [*wanted([key.hex().encode() for key in cache], cache)]
    assert 1 < sum(message.ByteSize() for message in packet) <= MAX_ANSWER_BYTES
