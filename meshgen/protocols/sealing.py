"""The work in an envelope that one worker can open: HPKE (RFC 9180), base mode.

``sealed = enc:32 || ciphertext`` with X25519, HKDF-SHA256 and ChaCha20-Poly1305; the plaintext is the order's bytes,
padded by 0x80 and zeros to a multiple of 256, so that its length says little about the prompt. HPKE's ``info`` is
``"meshgen/work/1\\0" || offer id || bid id``: sealed bytes open under the one bid that they were made for and nowhere else.

Channels are encrypted already. The seal is for what channels don't cover: a relay's operator, a packet capture with a stolen
identity key. Its key lives in memory, for one bid or one run of the node, so that what was captured stays closed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from meshgen.protocols.codec import Limits, Malformed, decode
from meshgen.protocols.order import Order, decode_order

BUCKET_BYTES = 256
OVERHEAD_BYTES = 32 + 16  # the encapsulated key, the tag

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True, slots=True)
class SealKey:
    """A worker's key for sealed work. ``public`` goes into the bid; its repr shows no secret."""

    public: bytes  # 32 bytes, X25519
    _private: X25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls) -> SealKey:
        return cls._of(X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, private: bytes) -> SealKey:
        """For tests and vectors: the key with these 32 secret bytes."""
        return cls._of(X25519PrivateKey.from_private_bytes(private))

    @classmethod
    def _of(cls, private: X25519PrivateKey) -> SealKey:
        return cls(private.public_key().public_bytes_raw(), private)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """HPKE's single-shot open. Raises Malformed."""
        try:
            return _SUITE.decrypt(sealed, self._private, info=info)
        except (InvalidTag, ValueError):
            raise Malformed("sealed: it does not open with this key for this bid") from None


def seal(work: Order, seal_key: bytes, bid_id: bytes) -> bytes:
    """The work for the holder of ``seal_key`` (32 bytes, from its bid) alone. Raises Malformed if that is no usable key."""
    try:
        return _SUITE.encrypt(_pad(work.encode()), X25519PublicKey.from_public_bytes(seal_key), info=_info(work.offer_id, bid_id))
    except ValueError:
        raise Malformed("seal_key: not a usable X25519 key") from None


def unseal(sealed: bytes, key: SealKey, offer_id: bytes, bid_id: bytes) -> Order:
    """The work that was sealed for this bid on this offer. Raises Malformed, whose text holds nothing of the work."""
    work = decode_order(_unpad(key.open(sealed, _info(offer_id, bid_id))))
    if work.offer_id != offer_id:
        raise Malformed(f"{work.TAG}.offer_id: the sealed work is for another offer")
    return work


def _info(offer_id: bytes, bid_id: bytes) -> bytes:
    return b"meshgen/work/1\0" + offer_id + bid_id


def _pad(data: bytes) -> bytes:
    data += b"\x80"
    return data + bytes(-len(data) % BUCKET_BYTES)


def _unpad(padded: bytes) -> bytes:
    data = padded.rstrip(b"\0")
    if not data.endswith(b"\x80") or len(padded) != len(_pad(data[:-1])):
        raise Malformed("sealed: the padding is not 0x80 and the fewest zeros")
    return data[:-1]


def _unseal_vector(data: bytes) -> Order:
    """Vectors bring the worker's key along: ``[private:bin32, offer id:bin32, bid id:bin32, sealed:bin]``."""
    match decode(data, Limits(max_bytes=80 * 1024, max_depth=1)):
        case (bytes() as private, bytes() as offer_id, bytes() as bid_id, bytes() as sealed) if len(private) == 32:
            return unseal(sealed, SealKey.from_bytes(private), offer_id, bid_id)
    raise Malformed("not a vector of this protocol")


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {"sealed": _unseal_vector}
