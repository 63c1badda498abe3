"""Notes: signed beside the log, embedded in it by their signature alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from meshgen.identity import SIGNATURE_BYTES, Identity, verify
from meshgen.protocols.codec import MAX_UINT, Limits, Malformed, Value, decode, encode, encode_trusted
from meshgen.protocols.credit.entry import VERSION
from meshgen.protocols.record import Bin, Hash, MilliKudos, NetId, Record, UInt

MAX_NOTE_BYTES = 512
_NOTE = Limits(max_bytes=MAX_NOTE_BYTES, max_items=12, max_depth=1)
_MaybeSignature = Annotated[bytes, Bin(SIGNATURE_BYTES, optional=True)]
_Sum = Annotated[int, UInt(0, MAX_UINT)]


class Note(Record):
    """``wire = [body:bin, sig:bin64]``, ``body = [1, field, ...]``, signed over DOMAIN || SHA-256(body)."""

    DOMAIN: ClassVar[bytes]
    SIGNER: ClassVar[str]

    @property
    def signer(self) -> bytes:
        """The key whose signature counts."""
        return bytes(getattr(self, self.SIGNER))

    def body(self) -> bytes:
        return encode_trusted((VERSION, *self.to_value()[1:-1]))

    def sign(self, identity: Identity) -> Self:
        """This note with its signature. Raises ValueError if it is not this identity's to sign."""
        if identity.public_key != self.signer:
            raise ValueError(f"this {self.TAG} is its {self.SIGNER}'s to sign")
        return self.from_value((*self.to_value()[:-1], identity.sign(self._message())))

    def is_signed(self) -> bool:
        sig: bytes = getattr(self, "sig")  # noqa: B009 - each note has one, as its last field
        return verify(self.signer, sig, self._message())

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

    @classmethod
    def message(cls, *fields: Value) -> bytes:
        """What its signer signs: of all fields but the signature, whose values have been judged elsewhere."""
        return cls.DOMAIN + hashlib.sha256(encode_trusted((VERSION, *fields))).digest()


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
    """:func:`meshgen.protocols.credit.result_commitment` over all pictures so far."""
    sig: _MaybeSignature = b""


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
    sig: _MaybeSignature = b""


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
    sig: _MaybeSignature = b""


@dataclass(frozen=True, slots=True)
class Witness(Note):
    """Somebody who holds ``author``'s chain up to ``upto_seq`` finds the same sums as its CHECKPOINT will say."""

    TAG = "witness"
    DOMAIN = b"meshgen/credit/witness/v1\0"
    SIGNER = "witness"
    net: NetId
    author: Hash
    upto_seq: Annotated[int, UInt(1)]
    upto_id: Hash
    earned: _Sum
    spent: _Sum
    held: _Sum
    peers_root: Hash
    witness: Hash
    sig: _MaybeSignature = b""
