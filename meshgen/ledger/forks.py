"""Two different entries of one author for one place in its chain: the one offence that can be proved to everybody.

Whoever holds both, each validly signed, needs no trust to be believed. A fork is never honest work: own appends are durable
before they are sent, and a home is locked to one process.

What follows, from the lowest forked number s on: entries below s stand; what the author then promised stands on *both* branches,
so its victims are kept whole; it earns nothing more (:mod:`meshgen.ledger.fold`: a deal is void if its HOLD was made for the
payee's entry s or a later one); and nobody needs to serve it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.credit import FORK, MAX_BODY_BYTES, Entry, ForkProof, Proof, decode_entry


@dataclass(frozen=True, slots=True)
class ForkEvidence:
    """Both wires, the one with the smaller id first: two finders of one fork keep the same evidence."""

    author: bytes
    seq: int
    ids: tuple[bytes, bytes]
    wires: tuple[bytes, bytes]

    def as_message(self) -> ForkProof:
        return ForkProof(*self.wires)

    def as_content(self) -> Proof | None:
        """What a log can say of it; None if its entries are too long for that."""
        one, other = (decode_entry(wire, verify=False, view=False) for wire in self.wires)
        if max(len(one.body), len(other.body)) > MAX_BODY_BYTES:
            return None
        return Proof(FORK, one.body, one.sig, other.body, other.sig)


def fork_between(one: Entry, other: Entry) -> ForkEvidence | None:
    """The evidence, if these two prove a fork. Judges both signatures."""
    same_place = (one.net, one.author, one.seq) == (other.net, other.author, other.seq)
    if not same_place or one.id == other.id or not (one.is_signed() and other.is_signed()):
        return None
    first, second = sorted((one, other), key=lambda entry: entry.id)
    return ForkEvidence(one.author, one.seq, (first.id, second.id), (first.wire, second.wire))


def judge(net: bytes, wires: tuple[bytes, bytes]) -> ForkEvidence:
    """The evidence in two wires brought by somebody. Raises Malformed if they prove nothing.

    What the entries hold is not judged, or peers that know other kinds would judge otherwise.
    """
    one, other = (decode_entry(wire, view=False) for wire in wires)
    evidence = fork_between(one, other) if one.net == net else None
    if evidence is None:
        raise Malformed("two entries that prove no fork")
    return evidence


def proven_by(proof: Proof, net: bytes) -> ForkEvidence:
    """The evidence in a PROOF. Raises Malformed if it proves nothing."""
    wires = encode((proof.body_a, proof.sig_a)), encode((proof.body_b, proof.sig_b))
    evidence = judge(net, wires)
    if evidence.wires != wires:
        raise Malformed("the entry with the smaller id stands first")
    return evidence


def convictions(evidence: Iterable[ForkEvidence]) -> dict[bytes, int]:
    """author -> the lowest number at which it is proved to have forked."""
    lowest: dict[bytes, int] = {}
    for fork in evidence:
        lowest[fork.author] = min(fork.seq, lowest.get(fork.author, fork.seq))
    return lowest
