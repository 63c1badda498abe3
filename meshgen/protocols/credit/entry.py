"""One signed link of one author's chain: how it is made, encoded, named and read. What a kind holds is in ``kinds``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Self

from meshgen.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from meshgen.protocols.codec import Limits, Malformed, Value, decode, encode
from meshgen.protocols.record import Record

VERSION = 1
NET_BYTES, HASH_BYTES = 16, 32
MAX_BODY_BYTES = 1024
MAX_LARGE_BODY_BYTES = 4096  # of the kinds in LARGE_KINDS
WIRE_OVERHEAD_BYTES = 72
MAX_WIRE_BYTES = MAX_LARGE_BODY_BYTES + WIRE_OVERHEAD_BYTES
MAX_KIND = 255
MAX_AHEAD_MS = 10 * 60 * 1000  # an entry from further in the future waits, it is not invalid

GENESIS, HOLD, RECEIPT, CLAIM, TRANSFER, VOUCH, ADVISORY, KEY = 0, 1, 2, 3, 4, 6, 9, 10
CHECKPOINT, PROOF, CHARTER, RELEASE = 11, 12, 13, 14
LARGE_KINDS = frozenset((PROOF,))

_ENTRY_DOMAIN = b"meshgen/credit/entry/v1\0"
_ENTRY_SIG_DOMAIN = b"meshgen/credit/entry-sig/v1\0"
_BODY = Limits(max_bytes=MAX_LARGE_BODY_BYTES, max_items=64, max_depth=4, max_text=256)
_WIRE = Limits(max_bytes=MAX_WIRE_BYTES, max_items=2, max_depth=1)


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


CONTENTS: dict[int, type[Content]] = {}
"""kind -> its view; filled by ``kinds``."""


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

    @property
    def signature(self) -> tuple[bytes, bytes, bytes]:
        """Its own: public key, signature, message."""
        return self.author, self.sig, _ENTRY_SIG_DOMAIN + self.id

    def is_signed(self) -> bool:
        """Rule R1 on the entry's own signature."""
        return verify(*self.signature)


def entry_id(body: bytes) -> bytes:
    return hashlib.sha256(_ENTRY_DOMAIN + body).digest()


def make_entry(identity: Identity, net: bytes, seq: int, prev: bytes, ts_ms: int, *, kind: int, data: tuple[Value, ...]) -> Entry:
    """A signed entry. Raises Malformed if no other peer would accept its form."""
    body = encode((VERSION, net, identity.public_key, seq, prev, ts_ms, kind, data))
    return _from_body(body, identity.sign(_ENTRY_SIG_DOMAIN + entry_id(body)))


def decode_entry(wire: bytes, verify: bool = True, view: bool = True) -> Entry:
    """The entry in these bytes; ``verify=False`` skips the signature, where it was judged before. Raises Malformed.

    ``view=False`` leaves ``content`` None and does not judge the data, whatever the kind: evidence of a fork must count alike at
    peers that know different kinds.
    """
    match decode(wire, _WIRE):
        case (bytes() as body, bytes() as sig):
            entry = _from_body(body, sig, view)
            if verify and not entry.is_signed():
                raise Malformed("entry: the signature is not its author's")
            return entry
    raise Malformed("not an entry: [body, signature] expected")


def _from_body(body: bytes, sig: bytes, view: bool = True) -> Entry:
    match decode(body, _BODY):
        case (1, bytes() as net, bytes() as author, int() as seq, bytes() as prev, int() as ts, int() as kind, tuple() as data):
            known = CONTENTS.get(kind) if view else None
            content = known.from_value((known.TAG, *data)) if known else None
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
