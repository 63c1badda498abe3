"""Gossip between peers with two connections for a while: it moves to the one that is left, and forgets nothing on its way."""

from __future__ import annotations

from typing import Any

from libp2p.peer.id import ID


class GossipMover:
    """Gossip to a peer runs on one connection, and its gossip to this node maybe on another one.

    When the first ends, libp2p forgets what the peer subscribed to; but the peer says it again only if the second ended too, so
    nothing would be sent to it any more. And if nothing is being sent, libp2p does not notice at all.
    """

    def __init__(self, host: Any, pubsub: Any) -> None:
        self._swarm = host.get_network()
        self._pubsub = pubsub
        self._forget = pubsub._handle_dead_peer
        pubsub._handle_dead_peer = self._renew

    def _renew(self, peer: ID) -> None:
        """In the place of Pubsub._handle_dead_peer, which opens a new stream where a connection is left."""
        pubsub = self._pubsub
        topics = [topic for topic, peers in pubsub.peer_topics.items() if peer in peers]
        self._forget(peer)
        if topics and self._is_connected(peer):
            for topic in topics:
                pubsub.peer_topics.setdefault(topic, set()).add(peer)
            pubsub._peer_subscription_count[peer] = len(topics)

    def lost(self, connection: Any) -> None:
        """A connection ended."""
        peer = connection.muxed_conn.peer_id
        stream = self._pubsub.peers.get(peer)
        if stream is not None and stream.muxed_conn is connection.muxed_conn and self._is_connected(peer):
            self._renew(peer)

    def _is_connected(self, peer: ID) -> bool:
        return any(not each.is_closed for each in self._swarm.get_connections(peer))
