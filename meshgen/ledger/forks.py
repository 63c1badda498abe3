"""Two different entries of one author for one place in its chain: the one offence that can be proved to everybody.

Whoever holds both, each validly signed, needs no trust to be believed. A fork is never honest work: own appends are durable
before they are sent, and a home is locked to one process.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Entry, decode_entry


@dataclass(frozen=True, slots=True)
class ForkEvidence:
    """Both wires, the one with the smaller id first: two finders of one fork keep the same evidence."""

    author: bytes
    seq: int
    ids: tuple[bytes, bytes]
    wires: tuple[bytes, bytes]


def fork_between(one: Entry, other: Entry) -> ForkEvidence | None:
    """The evidence, if these two prove a fork. Judges both signatures."""
    same_place = (one.net, one.author, one.seq) == (other.net, other.author, other.seq)
    if not same_place or one.id == other.id or not (one.is_signed() and other.is_signed()):
        return None
    first, second = sorted((one, other), key=lambda entry: entry.id)
    return ForkEvidence(one.author, one.seq, (first.id, second.id), (first.wire, second.wire))


def judge(net: bytes, wires: tuple[bytes, bytes]) -> ForkEvidence:
    """The evidence in two wires brought by somebody. Raises Malformed if they prove nothing."""
    one, other = decode_entry(wires[0]), decode_entry(wires[1])
    evidence = fork_between(one, other) if one.net == net else None
    if evidence is None:
        raise Malformed("two entries that prove no fork")
    return evidence
