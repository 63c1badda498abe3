"""Sums that a chain's author states and witnesses confirm, so that what lies before can be pruned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from meshgen.ledger.fold import Balance, Edge
from meshgen.protocols.codec import encode
from meshgen.protocols.credit import Checkpoint, Cosig, Head, Witness, WitnessRequest

_ROOT_DOMAIN = b"meshgen/credit/peers/v1\0"
_LEAF_DOMAIN = b"meshgen/credit/peer/v1\0"


class Sums(NamedTuple):
    """What a checkpoint says of its author, in milli-kudos."""

    earned: int
    spent: int
    held: int
    peers_root: bytes


def peers_root(author: bytes, edges: Mapping[tuple[bytes, bytes], Edge]) -> bytes:
    """SHA-256 over the sorted leaves, one a counterparty: what the author owes it, and is owed, for work."""
    peers = {other for sides in edges if author in sides for other in sides if other != author}
    digest = hashlib.sha256(_ROOT_DOMAIN)
    for peer in sorted(peers):
        owes, owed = edges.get((author, peer), Edge()).owed, edges.get((peer, author), Edge()).owed
        digest.update(hashlib.sha256(_LEAF_DOMAIN + encode((peer, owes, owed))).digest())
    return digest.digest()


def sums(author: bytes, balance: Balance, edges: Mapping[tuple[bytes, bytes], Edge]) -> Sums:
    return Sums(balance.earned, balance.spent, balance.held, peers_root(author, edges))


def question(net: bytes, author: bytes, upto: Head, found: Sums) -> WitnessRequest:
    return WitnessRequest(net, author, upto.seq, upto.id, *found)


def note(asked: WitnessRequest, witness: bytes) -> Witness:
    """What a witness signs, if it finds the same."""
    figures = (asked.upto_seq, asked.upto_id, asked.earned, asked.spent, asked.held, asked.peers_root)
    return Witness(asked.net, asked.author, *figures, witness)


def content(asked: WitnessRequest, notes: list[Witness]) -> Checkpoint:
    """The entry that its author may append, with these signed notes."""
    cosigs = tuple(Cosig(signed.witness, signed.sig) for signed in sorted(notes, key=lambda signed: signed.witness))
    figures = (asked.upto_seq, asked.upto_id, asked.earned, asked.spent, asked.held, asked.peers_root)
    return Checkpoint(*figures, cosigs)
