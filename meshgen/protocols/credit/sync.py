"""How logs travel: what ``/meshgen/credit/1`` says, one request and one reply a channel, and the news that is gossiped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from meshgen.identity import KEY_BYTES
from meshgen.protocols.codec import Limits
from meshgen.protocols.credit.entry import MAX_WIRE_BYTES
from meshgen.protocols.record import Array, Bin, Hash, MaybeHash, NetId, Record, UInt

PROTOCOL = "/meshgen/credit/1"
MAX_RANGE_ENTRIES = 1024
MAX_RANGE_BYTES = 512 * 1024
MAX_HEADS = 1024
BUCKETS = 256
"""Chains are compared by buckets: those whose authors' keys begin with the same byte."""
PRINT_BYTES = 16
MAX_PROOFS = 32
MAX_BRANCH_ENTRIES = 4096
"""Entries at and after the fork that are kept of one author who forked, on all branches together: the first that come."""
MAX_BRANCH_REPLY = 256
MAX_NEWS_HEADS = 256
MAX_NEWS_PROOFS = 4
_Wire = Bin(1, MAX_WIRE_BYTES)


@dataclass(frozen=True, slots=True)
class Frontier(Record):
    """How far somebody holds one author's chain."""

    TAG = "f"
    author: Hash
    seq: Annotated[int, UInt(1)]
    id: Hash


@dataclass(frozen=True, slots=True)
class HeadsRequest(Record):
    """How far do you hold these authors' chains? No authors asks for those that you know best."""

    TAG = "heads?/1"
    LIMITS = Limits(max_bytes=40 * 1024, max_items=MAX_HEADS, max_depth=2)
    net: NetId
    authors: Annotated[tuple[bytes, ...], Array(Bin(KEY_BYTES), MAX_HEADS)]


@dataclass(frozen=True, slots=True)
class Heads(Record):
    """Only chains that the sender holds are listed."""

    TAG = "heads/1"
    LIMITS = Limits(max_bytes=88 * 1024, max_items=MAX_HEADS, max_depth=3)
    net: NetId
    frontiers: Annotated[tuple[Frontier, ...], Array(Frontier, MAX_HEADS)]


@dataclass(frozen=True, slots=True)
class RangeRequest(Record):
    """Entries ``from_seq`` to ``to_seq``, both included, of one chain."""

    TAG = "range?/1"
    LIMITS = Limits(max_bytes=256, max_depth=1)
    net: NetId
    author: Hash
    from_seq: Annotated[int, UInt(1)]
    to_seq: Annotated[int, UInt(1)]


@dataclass(frozen=True, slots=True)
class RangeReply(Record):
    """Consecutive entries from the ``from_seq`` asked for; where they are fewer, ask again from where they end."""

    TAG = "range/1"
    LIMITS = Limits(max_bytes=MAX_RANGE_BYTES + 256, max_items=MAX_RANGE_ENTRIES, max_depth=2)
    net: NetId
    author: Hash
    head_seq: Annotated[int, UInt()]
    """How far the sender holds the chain: nothing more is to be had there."""
    entries: Annotated[tuple[bytes, ...], Array(Bin(1, MAX_WIRE_BYTES), MAX_RANGE_ENTRIES)]


@dataclass(frozen=True, slots=True)
class PrintsRequest(Record):
    """What does everything that you hold come to, bucket by bucket?"""

    TAG = "prints?/1"
    LIMITS = Limits(max_bytes=64, max_depth=1)
    net: NetId


@dataclass(frozen=True, slots=True)
class Prints(Record):
    """One fingerprint of PRINT_BYTES a bucket, and one of all that is held of who forked: sums of SHA-256, see the law."""

    TAG = "prints/1"
    LIMITS = Limits(max_bytes=BUCKETS * PRINT_BYTES + 128, max_depth=1)
    net: NetId
    prints: Annotated[bytes, Bin(BUCKETS * PRINT_BYTES)]
    proofs: Annotated[bytes, Bin(PRINT_BYTES)]


@dataclass(frozen=True, slots=True)
class BucketRequest(Record):
    """The frontiers of one bucket, in the order of the authors' keys, from the one after ``after``. The reply is Heads."""

    TAG = "bucket?/1"
    LIMITS = Limits(max_bytes=128, max_depth=1)
    net: NetId
    bucket: Annotated[int, UInt(0, BUCKETS - 1)]
    after: MaybeHash


@dataclass(frozen=True, slots=True)
class ForkProof(Record):
    """Two whole entries that prove a fork, the smaller id first. Unlike a PROOF it can hold entries of any size."""

    TAG = "fork/1"
    LIMITS = Limits(max_bytes=2 * MAX_WIRE_BYTES + 32, max_depth=1)
    wire_a: Annotated[bytes, _Wire]
    wire_b: Annotated[bytes, _Wire]


@dataclass(frozen=True, slots=True)
class ProofsRequest(Record):
    """Which forks can you prove, of the authors after ``after`` in the order of their keys?"""

    TAG = "proofs?/1"
    LIMITS = Limits(max_bytes=128, max_depth=1)
    net: NetId
    after: MaybeHash


@dataclass(frozen=True, slots=True)
class Proofs(Record):
    """One proof an author, that of the lowest place; where there are MAX_PROOFS, ask again after the last."""

    TAG = "proofs/1"
    LIMITS = Limits(max_bytes=MAX_PROOFS * (2 * MAX_WIRE_BYTES + 32) + 64, max_depth=2)
    net: NetId
    proofs: Annotated[tuple[ForkProof, ...], Array(ForkProof, MAX_PROOFS)]


@dataclass(frozen=True, slots=True)
class BranchRequest(Record):
    """What do you hold of an author who forked, at and after the fork, in the order of (seq, id), from the one after this?"""

    TAG = "branch?/1"
    LIMITS = Limits(max_bytes=128, max_depth=1)
    net: NetId
    author: Hash
    after_seq: Annotated[int, UInt()]
    after_id: MaybeHash


@dataclass(frozen=True, slots=True)
class Branch(Record):
    """Where nothing follows the last of these, there are no entries."""

    TAG = "branch/1"
    LIMITS = Limits(max_bytes=MAX_RANGE_BYTES + 256, max_items=MAX_BRANCH_REPLY, max_depth=2)
    net: NetId
    author: Hash
    entries: Annotated[tuple[bytes, ...], Array(_Wire, MAX_BRANCH_REPLY)]


@dataclass(frozen=True, slots=True)
class News(Record):
    """Gossiped: chains of others that this peer has newly seen grow, and forks that it can prove."""

    TAG = "news/1"
    LIMITS = Limits(max_bytes=60 * 1024, max_items=MAX_NEWS_HEADS, max_depth=3)
    net: NetId
    frontiers: Annotated[tuple[Frontier, ...], Array(Frontier, MAX_NEWS_HEADS)]
    proofs: Annotated[tuple[ForkProof, ...], Array(ForkProof, MAX_NEWS_PROOFS)]


@dataclass(frozen=True, slots=True)
class WitnessRequest(Record):
    """Do you find these sums after this entry of mine? The reply is a signed Witness note, or nothing."""

    TAG = "witness?/1"
    LIMITS = Limits(max_bytes=256, max_depth=1)
    net: NetId
    author: Hash
    upto_seq: Annotated[int, UInt(1)]
    upto_id: Hash
    earned: Annotated[int, UInt()]
    spent: Annotated[int, UInt()]
    held: Annotated[int, UInt()]
    peers_root: Hash
