"""What a node takes of an answer to its own question to the table: so many bytes, so many peers, and nothing that is none.

py-libp2p reads 4 MiB, and compares every peer in it with every other before anything else gets its turn: one answer of small
ids stopped a node for minutes.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from libp2p.exceptions import BaseLibp2pError
from libp2p.kad_dht import peer_routing, provider_store, value_store
from libp2p.kad_dht.common import BUCKET_SIZE
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from meshgen.net.libp2p.addresses import is_peer
from meshgen.net.libp2p.keeping import MAX_ADDRESSES, PROVIDERS_PER_KEY

MAX_ANSWER_BYTES = 2 * 1024 * 1024
"""As many providers as a node keeps of a key, each with its addresses and its signed record, and the peers that are closer, all
as long as they may be: else a few long ones would void what an honest node answers."""


async def read_answer(stream: Any, _limit: int) -> bytes:
    """In the place of ``read_varint_prefixed_bytes_limited``, with a limit of its own. Raises its errors."""
    try:
        answer = Message.FromString(await read_varint_prefixed_bytes_limited(stream, MAX_ANSWER_BYTES))
    except (BaseLibp2pError, DecodeError):
        await stream.reset()  # what is left of it is not to be taken in: whoever asks closes the stream alone
        raise
    for peers, most in ((answer.closerPeers, BUCKET_SIZE), (answer.providerPeers, PROVIDERS_PER_KEY)):
        del peers[most:]
        sound = [peer for peer in peers if is_peer(ID(peer.id))]
        del peers[:]
        peers.extend(sound)
        for peer in peers:
            del peer.addrs[MAX_ADDRESSES:]
    taken: bytes = answer.SerializeToString()
    return taken


def guard_answers() -> None:
    """Whatever the table is told goes through here from now on."""
    for asking in (peer_routing, provider_store, value_store):
        asking.read_varint_prefixed_bytes_limited = read_answer
