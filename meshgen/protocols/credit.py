"""What peers owe each other, as bytes: entries of append-only logs, the notes that lead to them, and how logs are pulled.

An :class:`Entry` is one signed link of one author's chain; its ``content`` is the typed view of its data. Notes (:class:`Bill`,
:class:`Voucher`, :class:`Consent`) travel beside the log, and RECEIPT, CLAIM and RELEASE embed their signature alone.
:class:`HeadsRequest` to :class:`RangeReply` are what ``/meshgen/credit/1`` says.

Whether an entry may stand where it stands in its chain is :mod:`meshgen.ledger.rules`. The law is ``protocols/credit/README.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, NamedTuple, Self

from meshgen.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from meshgen.protocols.codec import Limits, Malformed, Value, decode, encode
from meshgen.protocols.record import Array, Bin, Hash, MaybeHash, MilliKudos, Millis, NetId, Record, Text, UInt

PROTOCOL = "/meshgen/credit/1"
VERSION = 1

# -- every limit of this protocol
NET_BYTES, HASH_BYTES, SALT_BYTES = 16, 32, 16
MAX_BODY_BYTES = 1024
MAX_LARGE_BODY_BYTES = 4096  # of the kinds in LARGE_KINDS
WIRE_OVERHEAD_BYTES = 72
MAX_WIRE_BYTES = MAX_LARGE_BODY_BYTES + WIRE_OVERHEAD_BYTES
MAX_NOTE_BYTES = 512  # a bill, voucher or consent on the wire
MAX_KIND = 255
MAX_LABEL_BYTES = 64
MAX_UNITS = 2**32
MAX_HOLD_MS = 7 * 24 * 3600 * 1000
MAX_AHEAD_MS = 10 * 60 * 1000  # an entry from further in the future waits, it is not invalid
MAX_RANGE_ENTRIES = 1024
MAX_RANGE_BYTES = 512 * 1024
MAX_HEADS = 1024
MAX_PICTURES = 64  # that one result commitment covers

GENESIS, HOLD, RECEIPT, CLAIM, CHECKPOINT, PROOF, RELEASE = 0, 1, 2, 3, 11, 12, 14
LARGE_KINDS = frozenset((CHECKPOINT, PROOF))
RELEASE_REASONS = ("expired", "cancelled", "lost", "refused", "bad_result", "unpaid")
"""RELEASE's ``reason`` is an index into this; numbers beyond it are for later versions."""

_ENTRY_DOMAIN = b"meshgen/credit/entry/v1\0"
_ENTRY_SIG_DOMAIN = b"meshgen/credit/entry-sig/v1\0"
_RESULT_DOMAIN = b"meshgen/credit/result/v1\0"
_BODY = Limits(max_bytes=MAX_LARGE_BODY_BYTES, max_items=64, max_depth=4, max_text=256)
_WIRE = Limits(max_bytes=MAX_WIRE_BYTES, max_items=2, max_depth=1)
_NOTE = Limits(max_bytes=MAX_NOTE_BYTES, max_items=8, max_depth=1)


class Head(NamedTuple):
    """Where a chain ends: the last entry's number and id; (0, b"") is no chain."""

    seq: int
    id: bytes


NO_HEAD = Head(0, b"")


def net_id(charter: bytes) -> bytes:
    """Which mesh: the first 16 bytes of the SHA-256 of its founding charter."""
    return hashlib.sha256(charter).digest()[:NET_BYTES]


def job_id(random32: bytes, offer_id: bytes) -> bytes:
    """What the log calls a job. The random bytes keep outsiders from linking it to the offer."""
    if len(random32) != 32:
        raise ValueError(f"a job's id needs 32 random bytes, not {len(random32)}")
    return hashlib.sha256(random32 + offer_id).digest()


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


class Content(Record):
    """The data of one kind of entry. Its TAG names it in errors and is not on the wire: the entry's kind is."""

    KIND: ClassVar[int]

    def data(self) -> tuple[Value, ...]:
        return self.to_value()[1:]

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        """The view of this kind. Raises Malformed if the entry is of another one."""
        if entry.kind != cls.KIND:
            raise Malformed(f"entry kind {entry.kind} is no {cls.TAG}")
        return cls.from_value((cls.TAG, *entry.data))


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
    bill_sig: Annotated[bytes, Bin(SIGNATURE_BYTES)]


@dataclass(frozen=True, slots=True)
class Claim(Content):
    """The payee shows a voucher that the payer signed and did not turn into a receipt."""

    TAG = "claim"
    KIND = CLAIM
    hold_id: Hash
    payer: Hash
    amount: MilliKudos
    voucher_sig: Annotated[bytes, Bin(SIGNATURE_BYTES)]
    result: Hash


@dataclass(frozen=True, slots=True)
class Release(Content):
    """The payer takes the hold back: after its expiry, or with the payee's consent. Closes the hold."""

    TAG = "release"
    KIND = RELEASE
    hold_id: Hash
    reason: Annotated[int, UInt(0, 255)]
    payee_sig: Annotated[bytes, Bin(SIGNATURE_BYTES, optional=True)]


_CONTENTS: dict[int, type[Content]] = {kind.KIND: kind for kind in (Genesis, Hold, Receipt, Claim, Release)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One link of a chain. ``content`` is None for kinds that this version carries without understanding them."""

    net: bytes
    author: bytes
    seq: int
    prev: bytes
    ts_ms: int
    kind: int
    data: tuple[Value, ...]
    body: bytes = field(repr=False)
    sig: bytes = field(repr=False)
    id: bytes
    content: Content | None = field(repr=False, compare=False)

    @property
    def wire(self) -> bytes:
        return encode((self.body, self.sig))

    @property
    def head(self) -> Head:
        return Head(self.seq, self.id)

    def is_signed(self) -> bool:
        """Rule R1 on the entry's own signature."""
        return verify(self.author, self.sig, _ENTRY_SIG_DOMAIN + self.id)


def entry_id(body: bytes) -> bytes:
    return hashlib.sha256(_ENTRY_DOMAIN + body).digest()


def make_entry(identity: Identity, net: bytes, seq: int, prev: bytes, ts_ms: int, *, kind: int, data: tuple[Value, ...]) -> Entry:
    """A signed entry. Raises Malformed if no other peer would accept its form."""
    body = encode((VERSION, net, identity.public_key, seq, prev, ts_ms, kind, data))
    return _from_body(body, identity.sign(_ENTRY_SIG_DOMAIN + entry_id(body)))


def decode_entry(wire: bytes, verify: bool = True) -> Entry:
    """The entry in these bytes; ``verify=False`` skips the signature, where it was judged before. Raises Malformed."""
    match decode(wire, _WIRE):
        case (bytes() as body, bytes() as sig):
            entry = _from_body(body, sig)
            if verify and not entry.is_signed():
                raise Malformed("entry: the signature is not its author's")
            return entry
    raise Malformed("not an entry: [body, signature] expected")


def _from_body(body: bytes, sig: bytes) -> Entry:
    match decode(body, _BODY):
        case (1, bytes() as net, bytes() as author, int() as seq, bytes() as prev, int() as ts, int() as kind, tuple() as data):
            view = _CONTENTS.get(kind)
            content = view.from_value((view.TAG, *data)) if view else None
            entry = Entry(net, author, seq, prev, ts, kind, data, body, sig, entry_id(body), content)
            _check_frame(entry)
            return entry
    raise Malformed("not an entry: [1, net, author, seq, prev, ts_ms, kind, data] expected")


def _check_frame(entry: Entry) -> None:
    seq, kind = entry.seq, entry.kind
    if (len(entry.net), len(entry.author), len(entry.sig)) != (NET_BYTES, KEY_BYTES, SIGNATURE_BYTES):
        raise Malformed("entry: net, author and signature have 16, 32 and 64 bytes")
    if seq < 1 or len(entry.prev) != (HASH_BYTES if seq > 1 else 0):
        raise Malformed(f"entry {seq}: prev has 0 bytes in entry 1 and {HASH_BYTES} in each later one")
    if kind > MAX_KIND:
        raise Malformed(f"entry {seq}: kind {kind} is over {MAX_KIND}")
    if len(entry.body) > MAX_BODY_BYTES and kind not in LARGE_KINDS:
        raise Malformed(f"entry {seq}: a body of {len(entry.body)} bytes, more than the {MAX_BODY_BYTES} allowed")


# -- notes: signed beside the log, embedded in it by their signature


class Note(Record):
    """``wire = [body:bin, sig:bin64]``, ``body = [1, field, ...]``, signed over DOMAIN || SHA-256(body)."""

    DOMAIN: ClassVar[bytes]
    SIGNER: ClassVar[str]

    @property
    def signer(self) -> bytes:
        """The key whose signature counts."""
        return bytes(getattr(self, self.SIGNER))

    def body(self) -> bytes:
        return encode((VERSION, *self.to_value()[1:-1]))

    def sign(self, identity: Identity) -> Self:
        """This note with its signature. Raises ValueError if it is not this identity's to sign."""
        if identity.public_key != self.signer:
            raise ValueError(f"this {self.TAG} is its {self.SIGNER}'s to sign")
        return self.from_value((*self.to_value()[:-1], identity.sign(self._message())))

    def is_signed(self) -> bool:
        sig = self.to_value()[-1]
        return isinstance(sig, bytes) and verify(self.signer, sig, self._message())

    def encode(self) -> bytes:
        return encode((self.body(), self.to_value()[-1]))

    @classmethod
    def decode(cls, data: bytes, verify: bool = True) -> Self:
        """Raises Malformed unless these bytes are one such note, signed by the right peer."""
        match decode(data, _NOTE):
            case (bytes() as body, bytes() as sig) if len(sig) == SIGNATURE_BYTES:
                value = decode(body, _NOTE)
                if type(value) is not tuple or value[:1] != (VERSION,):
                    raise Malformed(f"{cls.TAG}: not a body of version {VERSION}")
                note = cls.from_value((cls.TAG, *value[1:], sig))
                if verify and not note.is_signed():
                    raise Malformed(f"{cls.TAG}: the signature is not its signer's")
                return note
        raise Malformed(f"not a {cls.TAG}: [body, signature] expected")

    def _message(self) -> bytes:
        return self.DOMAIN + hashlib.sha256(self.body()).digest()


@dataclass(frozen=True, slots=True)
class Bill(Note):
    """The payee asks for ``amount`` in all, for the pictures so far: a later bill of the same job includes the earlier ones."""

    TAG = "bill"
    DOMAIN = b"meshgen/credit/bill/v1\0"
    SIGNER = "payee"
    net: NetId
    job: Hash
    hold_id: Hash
    payer: Hash
    payee: Hash
    amount: MilliKudos
    result: Hash
    """:func:`result_commitment` over all pictures so far."""
    sig: Annotated[bytes, Bin(SIGNATURE_BYTES, optional=True)] = b""


@dataclass(frozen=True, slots=True)
class Voucher(Note):
    """The payer promises ``amount`` in all under one hold: a later voucher replaces the earlier ones."""

    TAG = "voucher"
    DOMAIN = b"meshgen/credit/voucher/v1\0"
    SIGNER = "payer"
    net: NetId
    hold_id: Hash
    payer: Hash
    payee: Hash
    amount: MilliKudos
    sig: Annotated[bytes, Bin(SIGNATURE_BYTES, optional=True)] = b""


@dataclass(frozen=True, slots=True)
class Consent(Note):
    """The payee lets go of a hold before it expires, and of every voucher under it."""

    TAG = "consent"
    DOMAIN = b"meshgen/credit/consent/v1\0"
    SIGNER = "payee"
    net: NetId
    hold_id: Hash
    payer: Hash
    payee: Hash
    sig: Annotated[bytes, Bin(SIGNATURE_BYTES, optional=True)] = b""


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


_KINDS: tuple[type[Record], ...] = (Bill, Voucher, Consent, HeadsRequest, Heads, RangeRequest, RangeReply)
VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {kind.TAG.removesuffix("/1"): kind.decode for kind in _KINDS}
VECTOR_DECODERS["entry"] = decode_entry
