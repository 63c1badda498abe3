"""What gossip's neighbours say beside messages - IHAVE, IWANT, GRAFT, PRUNE - as far as it is let through to the router.

py-libp2p keeps books on every topic that a neighbour makes up, dials whomever a PRUNE names, and answers one IWANT that names
one message ten thousand times with ten thousand copies in a single packet.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.utils import safe_bytes_from_hex

from meshgen.net.port import MAX_GOSSIP_BYTES

MOST = 64
"""Of each kind in one packet; an honest neighbour has one a topic."""
BACK_OFF_S = 300
MAX_ANSWER_BYTES = 6 * MAX_GOSSIP_BYTES
"""What one IWANT is answered with; who wants more asks again. The other side takes no packet that is much larger."""


def bounded(control: Any, topics: Container[str]) -> Any:
    """Without topics that this node does not listen to, and without the peers that a PRUNE recommends."""
    kept = rpc_pb2.ControlMessage()
    kept.iwant.extend(control.iwant[:MOST])
    kept.ihave.extend(each for each in control.ihave[:MOST] if each.topicID in topics)
    kept.graft.extend(each for each in control.graft[:MOST] if each.topicID in topics)
    for each in control.prune[:MOST]:
        if each.topicID in topics:
            kept.prune.add(topicID=each.topicID, backoff=min(each.backoff, BACK_OFF_S))
    return kept


def wanted(wire_ids: Iterable[Any], cache: Any) -> Iterator[Any]:
    """The messages of an IWANT that are at hand, each once, as many as fit into an answer."""
    left = MAX_ANSWER_BYTES
    for wire_id in dict.fromkeys(wire_ids):
        known = safe_bytes_from_hex(wire_id)
        message = cache.get(known) if known is not None else None
        if message is None:
            continue
        left -= message.ByteSize()
        if left < 0:
            return
        yield message
