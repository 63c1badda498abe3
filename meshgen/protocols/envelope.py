"""Who said it: a record, signed by its author for one purpose.

``wire = [body:bin, author:bin32, signature:bin64]``; ``id = SHA-256(author || body)``; the signature covers
``"meshgen/" TAG "\\0" || id``. The tag in the signed bytes keeps a signature for one kind of message from ever counting as
another. The ``net`` in each body keeps it in one mesh. The author in the id keeps a copycat, who signs somebody else's body, from
taking its id: peers tell messages apart by id, so whose copy came first would have silenced the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from meshgen.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, peer_id, verify
from meshgen.protocols.codec import Limits, Malformed, decode, encode
from meshgen.protocols.record import Record, decode_any

R_co = TypeVar("R_co", bound=Record, covariant=True)
R = TypeVar("R", bound=Record)

OVERHEAD_BYTES = 128
"""More than the envelope adds to its body."""


@dataclass(frozen=True, slots=True)
class Signed(Generic[R_co]):
    """A verified message: ``author`` did sign ``message``. ``wire`` is what to forward and to keep as evidence."""

    message: R_co
    author: bytes  # 32-byte public key
    id: bytes  # SHA-256(author || body): what later messages refer to
    wire: bytes

    @property
    def peer(self) -> str:
        return peer_id(self.author)


def sign(identity: Identity, message: R) -> Signed[R]:
    body = message.encode()
    ident = message_id(identity.public_key, body)
    signature = identity.sign(_domain(message.TAG) + ident)
    wire = encode((body, identity.public_key, signature))
    return Signed(message, identity.public_key, ident, wire)


def unsign(wire: bytes, *kinds: type[R]) -> Signed[R]:
    """The message, if it is whole, canonical, of one of these kinds and truly signed. Raises Malformed otherwise."""
    room = max(kind.LIMITS.max_bytes for kind in kinds)
    parts = decode(wire, Limits(max_bytes=room + OVERHEAD_BYTES, max_items=3, max_depth=1))
    match parts:
        case (bytes() as body, bytes() as author, bytes() as signature) if (
            len(author) == KEY_BYTES and len(signature) == SIGNATURE_BYTES
        ):
            message = decode_any(body, kinds)
            ident = message_id(author, body)
            if not verify(author, signature, _domain(message.TAG) + ident):
                raise Malformed(f"{message.TAG}: the signature is not its author's")
            return Signed(message, author, ident, wire)
    raise Malformed("not a signed message: [body, author, signature] expected")


def message_id(author: bytes, body: bytes) -> bytes:
    return hashlib.sha256(author + body).digest()


def _domain(tag: str) -> bytes:
    return b"meshgen/" + tag.encode("ascii") + b"\0"


def _cancel(wire: bytes) -> object:
    from meshgen.protocols.offer import Cancel  # the shortest signed message stands for all

    return unsign(wire, Cancel)


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {"signed cancel": _cancel}
