"""Gossip over py-libp2p's GossipSub, with cures for what makes it lose messages in silence, or a node to a stranger's bytes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from google.protobuf.message import DecodeError
from libp2p.io.exceptions import IOException
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.peer.peerstore import env_to_send_in_RPC
from libp2p.pubsub.gossipsub import PROTOCOL_ID as MESHSUB_1_0
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11 as MESHSUB_1_1
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.utils import maybe_consume_signed_record
from libp2p.rcmgr import Direction
from libp2p.utils import encode_varint_prefixed

from meshgen.identity import KEY_BYTES, peer_id, verify
from meshgen.net.conduct import Buckets, Conduct, Fault
from meshgen.net.guard import GOSSIP_QUEUE, accepts, shielded
from meshgen.net.libp2p.addresses import MAX_RECORD_BYTES
from meshgen.net.libp2p.control import bounded, wanted
from meshgen.net.libp2p.intake import Intake
from meshgen.net.libp2p.prefixed import Prefixed
from meshgen.net.mailbox import Mailbox
from meshgen.net.port import MAX_GOSSIP_BYTES, Gossip, GossipValidator, PeerId, TooLarge

MESSAGES_PER_SECOND = 1000
"""Per topic and *forwarder*. The default of 10 drops most of a burst that comes through a single neighbour, without an error."""
FLOOD_PEERS = 16
LAZY_PEERS = 3
MAX_RPC_BYTES = 8 * MAX_GOSSIP_BYTES
"""One write of a neighbour's: several messages, and what it has to say of them."""
MAX_SENT_BYTES = MAX_RPC_BYTES - 4096
"""One write of this node's, so that others, who read no more than this one, read it."""
MAX_TOPIC_BYTES = 128
MAX_TOPICS = 64
"""That one neighbour subscribes to."""
STREAMS = 2
"""That one neighbour gossips on: an old one may not have ended yet."""
OPENINGS_S, OPENINGS_BURST = 0.1, 8.0
"""Of streams to one neighbour: who ends each at once would have this node at nothing else."""
SEQNO_BYTES = 8
"""Others, js-libp2p among them, refuse any other number, and blame whoever passed it on."""
_UNSUBSCRIBE_S = 2.0
_SIGNED_PREFIX = b"libp2p-pubsub:"
_KEY_PREFIX = bytes.fromhex("002408011220")  # what a peer id has before an Ed25519 key


class MeshGossip(GossipSub):  # type: ignore[misc]
    """The router, with its settings for a small mesh, and two departures from its base towards go-libp2p."""

    def __init__(self) -> None:
        super().__init__(
            protocols=[MESHSUB_1_1, MESHSUB_1_0],  # 1.2 sends IDONTWANT for each message: half as much CPU again
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_interval=1,  # the default is 120 s: meshes would form and heal minutes late
            prune_back_off=5,
            max_messages_per_topic_per_second=MESSAGES_PER_SECOND,
            max_pending_messages_per_peer=16,
            # "Adaptive" slows the heartbeat to 30-60 s whenever it finds the mesh unhealthy, and a mesh of four is always that.
            adaptive_gossip_enabled=False,
        )
        # Its scores are nought for all, but for a penalty that never ends: who grafted a moment early. By these it grafts and
        # prunes some neighbour or other each second, who grafts early in its turn. Conduct is judged in meshgen.net.conduct.
        self.scorer = None
        self._whispering = False
        self._records: dict[ID, bytes] = {}  # by neighbour: where this node says it is, as it was told last

    def gossip_heartbeat(self) -> Any:
        for history in (self.recent_message_deliveries, self.recent_peer_connections, self.recent_peer_disconnections):
            history.clear()  # kept for the adaptive part, and emptied by nothing else
        self.equivocation_detection.clear()  # a thousand whole messages, though a number that was seen is not heard again
        self._forget_what_is_over()
        self._whispering = True
        try:
            return super().gossip_heartbeat()
        finally:
            self._whispering = False

    def _forget_what_is_over(self) -> None:
        """Also of keys that never come again: the base looks only when one does."""
        now_s = int(time.time())
        for ends in self.back_off.values():
            for peer in [peer for peer, end_s in ends.items() if end_s <= now_s]:
                del ends[peer]
        for peer in list(self._pending_messages):
            self._prune_pending_messages(peer)

    def _get_in_topic_gossipsub_peers_from_minus(
        self, topic: str, num_to_select: int, minus: Iterable[ID], backoff_check: bool = False
    ) -> list[ID]:
        """Prune back-off forbids GRAFT, not the lazy IHAVE: where it does both, a split mesh doesn't heal."""
        return list(
            super()._get_in_topic_gossipsub_peers_from_minus(topic, num_to_select, minus, backoff_check and not self._whispering)
        )

    def _get_peers_to_send(
        self, topic_ids: Iterable[str], msg_forwarder: ID, origin: ID, msg_id: bytes | None = None
    ) -> Iterable[ID]:
        """One's own messages go to (nearly) everybody connected, so that an empty mesh doesn't swallow them; to those that this
        node dialled itself in any case, so that a crowd of strangers who dialled it doesn't either."""
        topics = list(topic_ids)
        chosen = set(super()._get_peers_to_send(topics, msg_forwarder, origin, msg_id))
        if origin == self.pubsub.my_id:
            for topic in topics:
                if topic in self.pubsub.peer_topics:
                    chosen.update(self.pubsub.peer_topics[topic] & self._dialled())
                    chosen.update(self._get_in_topic_gossipsub_peers_from_minus(topic, FLOOD_PEERS, chosen))
        return chosen

    async def _emit_control_msgs(
        self, grafts: Mapping[ID, list[str]], prunes: Mapping[ID, list[str]], ihaves: Mapping[ID, Mapping[str, list[Any]]]
    ) -> None:
        """Each neighbour hears its own; from the base it hears the GRAFTs of all those before it, too, and so meshes overflow."""
        for peer in dict.fromkeys([*grafts, *prunes, *ihaves]):
            said = rpc_pb2.ControlMessage(
                graft=[rpc_pb2.ControlGraft(topicID=topic) for topic in grafts.get(peer, ())],
                prune=[rpc_pb2.ControlPrune(topicID=topic) for topic in prunes.get(peer, ())],
                ihave=[rpc_pb2.ControlIHave(topicID=topic, messageIDs=ids) for topic, ids in ihaves.get(peer, {}).items()],
            )
            await self.emit_control_message(said, peer)

    def _get_adaptive_gossip_peers_count(self, _topic: str, _total_peers: int) -> int:
        """Each of three heartbeats tells so many more what was heard, be there ten others or a thousand."""
        return LAZY_PEERS

    def remove_peer(self, peer_id: ID) -> None:
        super().remove_peer(peer_id)
        self._records.pop(peer_id, None)

    def send_rpc(self, peer_id: ID, rpc: Any, priority: bool = False) -> None:
        """With where this node is when that is new: it is some 200 bytes, and half of what a packet has."""
        if (queue := self.pubsub.peer_queues.get(peer_id)) is not None:
            queue.max_message_size = MAX_SENT_BYTES
        if rpc.senderRecord and self._records.get(peer_id) == rpc.senderRecord:
            known, rpc = rpc, rpc_pb2.RPC()
            rpc.CopyFrom(known)
            rpc.ClearField("senderRecord")
        elif rpc.senderRecord and peer_id in self.pubsub.peers:
            self._records[peer_id] = rpc.senderRecord
        super().send_rpc(peer_id, rpc, priority)

    def _handle_dropped_rpc(self, peer_id: ID, rpc: Any, reason: str) -> None:
        if rpc.senderRecord:
            self._records.pop(peer_id, None)
        super()._handle_dropped_rpc(peer_id, rpc, reason)

    async def handle_iwant(self, iwant_msg: Any, sender_peer_id: ID) -> None:
        if self._check_iwant_rate_limit(sender_peer_id):
            self._send_known(sender_peer_id, iwant_msg.messageIDs)

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        """In their turn: what the base writes past the queue comes amid what the queue's task writes, and neither can be read."""
        self._send_known(peer_id, self.mcache.window(topic))

    async def flush_pending_messages(self, peer_id: ID) -> None:
        """In their turn, too."""
        self._prune_pending_messages(peer_id)
        if peer_id in self.pubsub.peers:
            topics = {topic for topic, peers in self.pubsub.peer_topics.items() if peer_id in peers}
            for _, packet in self._pending_messages.pop(peer_id, ()):
                if any(not topics.isdisjoint(message.topicIDs) for message in packet.publish):
                    self.send_rpc(peer_id, packet)

    def _send_known(self, peer_id: ID, wire_ids: Iterable[bytes]) -> None:
        """In one packet that the other side takes."""
        packet = rpc_pb2.RPC(publish=wanted(wire_ids, self.mcache))
        if packet.publish:
            packet.senderRecord, _ = env_to_send_in_RPC(self.pubsub.host)
            self.send_rpc(peer_id, packet)

    def _dialled(self) -> set[ID]:
        connections = self.pubsub.host.get_network().get_connections()
        return {each.muxed_conn.peer_id for each in connections if each.direction is Direction.OUTBOUND}


class MeshPubsub(Pubsub):  # type: ignore[misc]
    """Signed messages, delivered straight into mailboxes that drop the oldest (the base drops the newest of 32).

    What comes in is read here, and not as the base does it: that starts a task a message, so a flood is as many tasks; checks a
    signature before it looks at a rate; lets bad signatures go unpunished; and a key that is none ends the whole service.
    """

    def __init__(self, host: Any, router: MeshGossip, conduct: Conduct, blame: Callable[[PeerId, float], None]) -> None:
        super().__init__(
            host,
            router,
            strict_signing=True,
            validation_cache_size=256,
            max_subscriptions_per_peer=MAX_TOPICS,
            max_subscriptions_per_rpc=MAX_TOPICS,
        )
        self._blame = blame
        self._intake = Intake(conduct, blame)
        self._topics: dict[str, tuple[GossipValidator, Mailbox[Gossip]]] = {}
        self._reading: Counter[PeerId] = Counter()
        self._opening: set[ID] = set()
        self._openings = Buckets(OPENINGS_S, OPENINGS_BURST, time.monotonic)
        # The base counts from the time in whole seconds: a node that published faster than once a second and restarts would
        # repeat sequence numbers, and peers would drop its messages as seen.
        self.counter = time.time_ns()

    def notify_subscriptions(self, publish_message: Any) -> None:
        message = _gossip(publish_message)
        topic = self._topics.get(message.topic)
        if topic is not None and message.sender != str(self.my_id):
            topic[1].put(message)

    @asynccontextmanager
    async def listening(self, topic: str, validator: GossipValidator) -> AsyncIterator[Mailbox[Gossip]]:
        if topic in self._topics:
            raise ValueError(f"{topic} is subscribed to already")
        mailbox = Mailbox[Gossip](GOSSIP_QUEUE)
        self._topics[topic] = validator, mailbox
        try:
            await self.subscribe(topic)
            yield mailbox
        finally:
            del self._topics[topic]
            with shielded(_UNSUBSCRIBE_S):
                await self.unsubscribe(topic)

    # -- what goes out

    async def _handle_new_peer_with_retry(self, peer_id: ID, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the base's
        """Open a stream; another one when it fails, for whatever reason, as long as there is a connection.

        The base gives up at errors that it does not know, and at a stream that fails before this has ended. For two connections
        that come at a time it opens two streams, of which one is never used nor closed.
        """
        if peer_id in self._opening:
            return
        self._opening.add(peer_id)
        try:
            with trio.move_on_after(math.inf if timeout is None else timeout):
                while self._lacks_stream(peer_id):
                    await trio.sleep(self._openings.owe(peer_id))
                    if self._lacks_stream(peer_id):
                        await super()._handle_new_peer_with_retry(peer_id)
        finally:
            self._opening.discard(peer_id)

    def _lacks_stream(self, peer_id: ID) -> bool:
        return peer_id not in self.peers and self._peer_is_connected(peer_id)

    def _handle_dead_peer(self, peer_id: ID) -> None:
        """The stream that is given up ends at the other side, too: it would be one of its STREAMS for ever."""
        stream = self.peers.get(peer_id)
        super()._handle_dead_peer(peer_id)
        if stream is not None and self.manager.is_running:
            self.manager.run_task(stream.reset)

    async def write_msg(self, stream: Any, rpc_msg: Any) -> bool:
        """False when the stream failed. As the base does it, one that was given up takes the one after it along."""
        peer: ID = stream.muxed_conn.peer_id
        try:
            if self.peers.get(peer) is stream:
                await stream.write(encode_varint_prefixed(rpc_msg.SerializeToString()))
        except IOException:
            if self.peers.get(peer) is stream:
                self._handle_dead_peer(peer)
        return self.peers.get(peer) is stream

    # -- what comes in

    async def continuously_read_stream(self, stream: Any) -> None:
        """Everything a neighbour says on one stream. What no implementation would send costs it the stream, and more."""
        peer: ID = stream.muxed_conn.peer_id
        neighbour = PeerId(str(peer))
        if self._reading[neighbour] >= STREAMS:
            self._blame(neighbour, Fault.REFUSED)
            await stream.reset()
            return
        self._reading[neighbour] += 1
        try:
            await self._read(peer, neighbour, Prefixed(stream, MAX_RPC_BYTES))
        except (TooLarge, DecodeError):
            self._blame(neighbour, Fault.MALFORMED)
            await stream.reset()
            self._handle_dead_peer(peer)
        except (StreamError, IOException):
            pass  # it went away
        finally:
            self._reading[neighbour] -= 1
            if not self._reading[neighbour]:
                del self._reading[neighbour]

    async def _read(self, peer: ID, neighbour: PeerId, source: Prefixed) -> None:
        known_record = b""
        while self.manager.is_running and (raw := await source.next()) is not None:
            rpc = rpc_pb2.RPC.FromString(raw)
            await self._intake.pace(neighbour, 1 + len(rpc.publish), len(raw))
            if rpc.senderRecord != known_record:  # each costs a signature check, and mostly it is the last one again
                known_record = rpc.senderRecord[: MAX_RECORD_BYTES + 1]
                if len(known_record) > MAX_RECORD_BYTES or not maybe_consume_signed_record(rpc, self.host, peer):
                    self._blame(neighbour, Fault.JUNK)
                    continue
            rpc.ClearField("senderRecord")  # the router would check it once more
            for message in rpc.publish:
                await self._hear(peer, neighbour, message)
            for each in rpc.subscriptions[:MAX_TOPICS]:
                if len(each.topicid) <= MAX_TOPIC_BYTES:
                    self.handle_subscription(peer, each)
            if rpc.HasField("control"):
                rpc.control.CopyFrom(bounded(rpc.control, self._topics))
                await self.router.handle_rpc(rpc, peer)

    async def _hear(self, peer: ID, neighbour: PeerId, raw: Any) -> None:
        """One message: what is cheap to tell first, then whether it is signed, then what the topic's validator says."""
        if not _is_sound(raw):
            self._blame(neighbour, Fault.JUNK)
            return
        topic = self._topics.get(raw.topicIDs[0])
        if topic is None or raw.from_id == self.my_id.to_bytes() or self._is_msg_seen(raw):
            return
        message = _gossip(raw)
        if not self._intake.admits(neighbour, message.sender):
            return
        await self._intake.turn(neighbour)
        if self._is_msg_seen(raw):
            return  # it came from another neighbour meanwhile
        signed = _signed(raw)
        if signed is None:
            self._blame(neighbour, Fault.MALFORMED)
            return
        self._mark_msg_seen(signed)
        verdict = accepts(topic[0], message)
        if verdict:
            self.notify_subscriptions(signed)
            await self.router.publish(peer, signed)
        elif verdict is False:
            self._blame(neighbour, Fault.JUNK)


def _is_sound(raw: Any) -> bool:
    """Of one topic, within the limits, by an Ed25519 key that its sender's peer id holds: others are not of this network."""
    origin = raw.from_id
    return (
        len(raw.topicIDs) == 1
        and len(raw.data) <= MAX_GOSSIP_BYTES
        and len(raw.seqno) == SEQNO_BYTES
        and len(origin) == len(_KEY_PREFIX) + KEY_BYTES
        and origin.startswith(_KEY_PREFIX)
    )


def _signed(raw: Any) -> Any | None:
    """A message with what its sender signed, and nothing else: whoever passed it on may have put half a megabyte beside it, as a
    key or a field of no known number, and a packet lives as long as any message in it. None if it is not signed by the key in
    its sender's peer id; the base would also take any that comes along, and raise for one that is none.
    """
    clean = rpc_pb2.Message(data=raw.data, topicIDs=raw.topicIDs, from_id=raw.from_id, seqno=raw.seqno)
    if not verify(raw.from_id[len(_KEY_PREFIX) :], raw.signature, _SIGNED_PREFIX + clean.SerializeToString()):
        return None
    clean.signature = raw.signature
    return clean


def _gossip(raw: Any) -> Gossip:
    return Gossip(raw.topicIDs[0], PeerId(peer_id(raw.from_id[len(_KEY_PREFIX) :])), raw.data)
