"""Fingerprints of what a ledger holds, so that two peers find out in one message where they differ. Sums: order plays no part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from meshgen.protocols.credit import BUCKETS, PRINT_BYTES, Head

_SEQ_BYTES = 8
_MODULUS = 1 << (8 * PRINT_BYTES)


def bucket_of(author: bytes) -> int:
    return author[0]


def bucket_prints(heads: Iterable[tuple[bytes, Head]]) -> bytes:
    """One print a bucket, BUCKETS of PRINT_BYTES, over the heads of its chains."""
    sums = [0] * BUCKETS
    for author, head in heads:
        sums[bucket_of(author)] += _number(author + head.seq.to_bytes(_SEQ_BYTES) + head.id)
    return b"".join((total % _MODULUS).to_bytes(PRINT_BYTES) for total in sums)


def differing(mine: bytes, theirs: bytes) -> list[int]:
    """The buckets whose prints differ."""
    spans = [slice(bucket * PRINT_BYTES, (bucket + 1) * PRINT_BYTES) for bucket in range(BUCKETS)]
    return [bucket for bucket, span in enumerate(spans) if mine[span] != theirs[span]]


def proofs_print(forked: Iterable[tuple[bytes, int]], branches: Iterable[bytes]) -> bytes:
    """One print over who forked, as (author, lowest seq), and the ids of the entries kept of them from there on."""
    total = sum(_number(author + seq.to_bytes(_SEQ_BYTES)) for author, seq in forked)
    total += sum(int.from_bytes(entry_id[:PRINT_BYTES]) for entry_id in branches)
    return (total % _MODULUS).to_bytes(PRINT_BYTES)


def digest(heads: Iterable[tuple[bytes, Head]], proofs: bytes) -> bytes:
    """One value for all that is held: equal at two peers if they hold the same chains, forks and branches."""
    return hashlib.sha256(bucket_prints(heads) + proofs).digest()


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:PRINT_BYTES])
