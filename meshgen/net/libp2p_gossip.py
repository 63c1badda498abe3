"""Gossip over py-libp2p's GossipSub, with cures for what makes it lose messages in silence."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID as MESHSUB_1_0
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11 as MESHSUB_1_1
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.score import ScoreParams, TopicScoreParams

from meshgen.net.guard import GOSSIP_QUEUE, accepts, shielded
from meshgen.net.mailbox import Mailbox
from meshgen.net.port import Gossip, GossipValidator, PeerId

MESSAGES_PER_SECOND = 1000
"""Per topic and *forwarder*. The default of 10 drops most of a burst that comes through a single neighbour, without an error."""
FLOOD_PEERS = 16
JUNK_TOLERATED = 20
"""A neighbour that sent so many invalid messages lately (a tenth is forgiven each second) is not listened to, before its next
signature is even checked. As it comes, py-libp2p keeps score of them and never looks at it."""
_UNSUBSCRIBE_S = 2.0


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
            score_params=ScoreParams(
                p4_invalid_messages=TopicScoreParams(weight=1, cap=10 * JUNK_TOLERATED, decay=0.9),
                publish_threshold=-JUNK_TOLERATED,
                graylist_threshold=-JUNK_TOLERATED,
            ),
        )
        self._whispering = False

    def gossip_heartbeat(self) -> Any:
        for history in (self.recent_message_deliveries, self.recent_peer_connections, self.recent_peer_disconnections):
            history.clear()  # kept for the adaptive part, and emptied by nothing else
        self._whispering = True
        try:
            return super().gossip_heartbeat()
        finally:
            self._whispering = False

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
        """One's own messages go to (nearly) everybody connected, so that an empty mesh doesn't swallow them."""
        topics = list(topic_ids)
        chosen = set(super()._get_peers_to_send(topics, msg_forwarder, origin, msg_id))
        if origin == self.pubsub.my_id:
            for topic in topics:
                if topic in self.pubsub.peer_topics:
                    chosen.update(self._get_in_topic_gossipsub_peers_from_minus(topic, FLOOD_PEERS, chosen))
        return chosen


class MeshPubsub(Pubsub):  # type: ignore[misc]
    """Signed messages, delivered straight into mailboxes that drop the oldest (the base drops the newest of 32)."""

    def __init__(self, host: Any, router: MeshGossip) -> None:
        super().__init__(host, router, strict_signing=True, validation_cache_size=256)
        self._mailboxes: dict[str, Mailbox[Gossip]] = {}
        # The base counts from the time in whole seconds: a node that published faster than once a second and restarts would
        # repeat sequence numbers, and peers would drop its messages as seen.
        self.counter = time.time_ns()

    def notify_subscriptions(self, publish_message: Any) -> None:
        message = _gossip(publish_message)
        mailbox = self._mailboxes.get(message.topic)
        if mailbox is not None and message.sender != str(self.my_id):
            mailbox.put(message)

    @asynccontextmanager
    async def listening(self, topic: str, validator: GossipValidator) -> AsyncIterator[Mailbox[Gossip]]:
        if topic in self._mailboxes:
            raise ValueError(f"{topic} is subscribed to already")
        self._mailboxes[topic] = mailbox = Mailbox[Gossip](GOSSIP_QUEUE)
        self.set_topic_validator(topic, partial(_is_acceptable, str(self.my_id), validator), is_async_validator=False)
        try:
            await self.subscribe(topic)
            yield mailbox
        finally:
            del self._mailboxes[topic]
            self.remove_topic_validator(topic)
            with shielded(_UNSUBSCRIBE_S):
                await self.unsubscribe(topic)


def _is_acceptable(me: str, validator: GossipValidator, _forwarder: ID, raw: Any) -> bool:
    """Runs before a message is delivered or forwarded; its signature has been checked."""
    if len(raw.topicIDs) != 1:
        return False
    message = _gossip(raw)
    return message.sender == me or accepts(validator, message)


def _gossip(raw: Any) -> Gossip:
    return Gossip(raw.topicIDs[0], PeerId(ID(raw.from_id).to_base58()), raw.data)
