"""What each kind of entry says. Whether it may stand is :mod:`meshgen.ledger.rules`; what it is worth, the fold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from meshgen.identity import SIGNATURE_BYTES
from meshgen.protocols.codec import MAX_UINT
from meshgen.protocols.credit.entry import (
    ADVISORY,
    CHARTER,
    CHECKPOINT,
    CLAIM,
    CONTENTS,
    GENESIS,
    HASH_BYTES,
    HOLD,
    KEY,
    MAX_BODY_BYTES,
    PROOF,
    RECEIPT,
    RELEASE,
    TRANSFER,
    VOUCH,
    Content,
)
from meshgen.protocols.record import Array, Bin, Hash, MaybeHash, MilliKudos, Millis, Record, Text, UInt

MAX_LABEL_BYTES = 64
MAX_UNITS = 2**32
MAX_HOLD_MS = 7 * 24 * 3600 * 1000
MAX_PROMISE_MS = 400 * 24 * 3600 * 1000
"""The life of a VOUCH or an ADVISORY: a word that nobody renews ends by itself."""
MAX_PICTURES = 64  # that one result commitment covers
SALT_BYTES = 16
MAX_COSIGS = 5

RELEASE_REASONS = ("expired", "cancelled", "lost", "refused", "bad_result", "unpaid")
"""RELEASE's ``reason`` is an index into this, as the others below are for theirs; numbers beyond are for later versions."""
TRANSFER_REASONS = ("tip", "share", "rating", "treasury", "relay")
KEY_OPS = ("add", "retire", "rotate", "recover")
ADD, RETIRE, ROTATE, RECOVER = range(4)
SUBJECT_TYPES = ("account", "model", "charter", "peer")
RECOMMENDATIONS = ("trust", "caution", "avoid")
FORK = 0
"""PROOF's only type so far."""

_RESULT_DOMAIN = b"meshgen/credit/result/v1\0"
_Signature = Annotated[bytes, Bin(SIGNATURE_BYTES)]
_MaybeSignature = Annotated[bytes, Bin(SIGNATURE_BYTES, optional=True)]
_Sum = Annotated[int, UInt(0, MAX_UINT)]


def result_commitment(pictures: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The commitment to pictures 0..i as [(salt, SHA-256 of the file), ...]; without a salt it tells nothing of its picture."""
    if not 1 <= len(pictures) <= MAX_PICTURES:
        raise ValueError(f"a result holds 1 to {MAX_PICTURES} pictures, not {len(pictures)}")
    digest = hashlib.sha256(_RESULT_DOMAIN)
    for salt, picture in pictures:
        if len(salt) != SALT_BYTES or len(picture) != HASH_BYTES:
            raise ValueError(f"each picture is a salt of {SALT_BYTES} bytes and a SHA-256")
        digest.update(salt + picture)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Genesis(Content):
    """The first entry of a chain, and of no other place."""

    TAG = "genesis"
    KIND = GENESIS
    account: MaybeHash
    """bin0: this chain is the root of its own account."""
    next_key_hash: Hash
    """SHA-256 of the public key that may take over if this one is lost or stolen."""
    label: Annotated[str, Text(MAX_LABEL_BYTES)]


@dataclass(frozen=True, slots=True)
class Hold(Content):
    """The payer sets aside at most ``amount`` for one job by one payee."""

    TAG = "hold"
    KIND = HOLD
    job: Hash
    payee: Hash
    amount: MilliKudos
    expires_ms: Millis
    payee_seq: Annotated[int, UInt(1)]
    payee_head: Hash


@dataclass(frozen=True, slots=True)
class Receipt(Content):
    """The payer pays, for what the payee's bill says. Closes the hold."""

    TAG = "receipt"
    KIND = RECEIPT
    job: Hash
    hold_id: Hash
    payee: Hash
    amount: MilliKudos
    result: Hash
    units: Annotated[int, UInt(0, MAX_UNITS)]
    """Pictures, as the payer counts them; for display, nothing is computed from it."""
    bill_sig: _Signature


@dataclass(frozen=True, slots=True)
class Claim(Content):
    """The payee shows a voucher that the payer signed and did not turn into a receipt."""

    TAG = "claim"
    KIND = CLAIM
    hold_id: Hash
    hold_seq: Annotated[int, UInt(1)]
    """Where the HOLD stands in the payer's chain, so that it is found without an index."""
    payer: Hash
    amount: MilliKudos
    voucher_sig: _Signature
    result: Hash


@dataclass(frozen=True, slots=True)
class Release(Content):
    """The payer takes the hold back: after its expiry, or with the payee's consent. Closes the hold."""

    TAG = "release"
    KIND = RELEASE
    hold_id: Hash
    reason: Annotated[int, UInt(0, 255)]
    payee_sig: _MaybeSignature


@dataclass(frozen=True, slots=True)
class Transfer(Content):
    """The author gives ``amount`` away: a tip, a share, a reward. It moves the balance and makes no standing."""

    TAG = "transfer"
    KIND = TRANSFER
    payee: Hash
    amount: MilliKudos
    reason: Annotated[int, UInt(0, 255)]
    ref: MaybeHash
    """The entry that it is for, or none."""


@dataclass(frozen=True, slots=True)
class Vouch(Content):
    """The author answers for an account up to ``limit``, as if it owed it so much. The latest for an account counts."""

    TAG = "vouch"
    KIND = VOUCH
    account: Hash
    limit: MilliKudos
    expires_ms: Millis
    revoke: Annotated[int, UInt(0, 1)]


@dataclass(frozen=True, slots=True)
class Advisory(Content):
    """A recommendation that others may follow, if they follow this author. The latest of a list for a subject counts."""

    TAG = "advisory"
    KIND = ADVISORY
    list: Annotated[str, Text(32, low=1)]
    op: Annotated[int, UInt(0, 1)]
    """0 says it, 1 takes it back."""
    subject_type: Annotated[int, UInt(0, 255)]
    subject: Hash
    """An account's id, a model's or a charter's digest, a peer's key."""
    label: Annotated[str, Text(MAX_LABEL_BYTES)]
    recommendation: Annotated[int, UInt(0, 255)]
    expires_ms: Millis
    reason_hash: MaybeHash
    """SHA-256 of a text published elsewhere."""


@dataclass(frozen=True, slots=True)
class Key(Content):
    """What keys speak for an account. ``op``: add a device, retire one, rotate to the next key, recover from the next key."""

    TAG = "key"
    KIND = KEY
    op: Annotated[int, UInt(0, 255)]
    key: Hash
    """add, retire: the device; rotate: the next key; recover: the lost one."""
    next_hash: MaybeHash
    """rotate: what the next key's GENESIS commits to."""
    at_seq: Annotated[int, UInt()]
    """retire, recover: the last entry of that key that its account stands by."""
    at_id: MaybeHash
    budget: MilliKudos
    """add: the most that the device may owe, spent and held less earned; 0 = no bound."""


@dataclass(frozen=True, slots=True)
class Cosig(Record):
    """A witness's signature of a Witness note, whose fields are the CHECKPOINT's."""

    TAG = "c"
    witness: Hash
    sig: _Signature


@dataclass(frozen=True, slots=True)
class Checkpoint(Content):
    """The author's sums after its entry ``upto_seq``, with witnesses who found the same. What lies before may be pruned."""

    TAG = "checkpoint"
    KIND = CHECKPOINT
    upto_seq: Annotated[int, UInt(1)]
    upto_id: Hash
    earned: _Sum
    spent: _Sum
    held: _Sum
    peers_root: Hash
    """:func:`meshgen.ledger.checkpoints.peers_root` of what it owes and is owed, peer by peer."""
    cosigs: Annotated[tuple[Cosig, ...], Array(Cosig, MAX_COSIGS)]


@dataclass(frozen=True, slots=True)
class Proof(Content):
    """Two entries of one author for one place: whoever reads this knows that it forked. The smaller id stands first."""

    TAG = "proof"
    KIND = PROOF
    type: Annotated[int, UInt(0, 255)]
    body_a: Annotated[bytes, Bin(1, MAX_BODY_BYTES)]
    sig_a: _Signature
    body_b: Annotated[bytes, Bin(1, MAX_BODY_BYTES)]
    sig_b: _Signature


@dataclass(frozen=True, slots=True)
class CharterEntry(Content):
    """A delegate puts on record which charter it has signed."""

    TAG = "charter"
    KIND = CHARTER
    doc_hash: Hash
    version: Annotated[int, UInt()]
    parent: MaybeHash
    """The hash of the version before; none for version 0."""


_ALL: tuple[Any, ...] = (
    Genesis, Hold, Receipt, Claim, Release, Transfer, Vouch, Advisory, Key, Checkpoint, Proof, CharterEntry,
)  # fmt: skip
CONTENTS.update({kind.KIND: kind for kind in _ALL})
