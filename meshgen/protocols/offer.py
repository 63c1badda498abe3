"""How work finds a worker: offer, bid, refusal, award, cancel.

The offer travels by gossip and straight to workers already known (one signed message, two ways). It says what matching needs and
nothing more: never a prompt, a seed or an image. Bids and refusals come back on a direct channel. The award goes to the chosen
worker alone and carries the HOLD and the sealed work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from meshgen.protocols.advert import ADAPTERS, FAMILIES, MAX_ADDRESS_BYTES, MAX_ADDRESSES, PICTURE_FAMILIES
from meshgen.protocols.codec import Limits, Malformed
from meshgen.protocols.record import MAX_MKUDOS, Array, Bin, Hash, MaybeHash, MilliKudos, Millis, NetId, Record, Text, UInt

OFFER_PROTOCOL = "/meshgen/offer/1"
"""To a worker: a signed offer; its answer is a signed bid or refusal."""
BID_PROTOCOL = "/meshgen/bid/1"
"""To a requester: a signed bid or refusal from a worker that heard the offer by gossip. No answer."""
MAX_COUNT = 64
MAX_STEPS = 1000
MAX_TOKENS = 4096
MAX_CONTEXT = 2**20
MAX_NEEDS = 32
MAX_ENLARGE = 16
MAX_SIDE = 8192
MAX_SAMPLE = 24
MAX_OFFER_LIFETIME_MS = 10 * 60 * 1000
MAX_SEALED_BYTES = 64 * 1024
MAX_CHAIN_ENTRIES = 64
"""Entries an award may bring along; a worker that lacks more pulls them by the credit protocol."""
_DRAW_DOMAIN = b"meshgen/offer-draw/v1\0"

REASONS = (
    "unknown_model",
    "too_large",
    "too_many_steps",
    "too_many_pictures",
    "unsupported",
    "full",
    "price",
    "policy",
    "standing",
    "paused",
    "expired",
    "other_mesh",
    "bad_offer",
    "bad_hold",
    "bad_chain",
    "not_mine",
    "engine",
    "not_member",
)
"""Why a worker says no. The refusal's ``limit`` is what it would take: pixels, steps, pictures or mkudos; 0 = no such figure."""


@dataclass(frozen=True, slots=True)
class Need(Record):
    """An adapter that the work takes: the worker must have it."""

    TAG = "need/1"
    kind: Annotated[str, Text(12, choices=ADAPTERS)]
    digest: Hash


@dataclass(frozen=True, slots=True)
class Offer(Record):
    """For pictures, a text (family ``text``) or a form of alchemy (family ``alchemy``, the form being the model)."""

    TAG = "offer/1"
    LIMITS = Limits(max_bytes=4096, max_depth=3)
    net: NetId
    nonce: Annotated[bytes, Bin(16)]
    model: Annotated[str, Text(64, low=1)]
    digest: MaybeHash
    """bin0 takes any weights under that name."""
    family: Annotated[str, Text(8, choices=FAMILIES)]
    width: Annotated[int, UInt(0, MAX_SIDE)]
    """Pixels: of the pictures, or of the one that a form is about; 0 for a text."""
    height: Annotated[int, UInt(0, MAX_SIDE)]
    steps: Annotated[int, UInt(0, MAX_STEPS)]
    """0 for what draws nothing."""
    count: Annotated[int, UInt(1, MAX_COUNT)]
    features: Annotated[tuple[str, ...], Array(Text(24, low=1), 16)]
    max_mkudos: MilliKudos
    """The most one picture may cost."""
    created_ms: Millis
    expires_ms: Millis
    addresses: Annotated[tuple[str, ...], Array(Text(MAX_ADDRESS_BYTES, low=1), MAX_ADDRESSES)]
    """Where the requester can be dialled by a worker that heard the offer by gossip."""
    shared: Annotated[int, UInt(0, 1)] = 0
    """1: the owner lets the pictures be shared, which lowers the tariff's surcharge."""
    nsfw: Annotated[int, UInt(0, 1)] = 0
    """1: what comes out may be not safe for work, as far as the requester knows."""
    needs: Annotated[tuple[Need, ...], Array(Need, MAX_NEEDS)] = ()
    enlarge: Annotated[int, UInt(1, MAX_ENLARGE)] = 1
    """How many times the sides grow in post-processing; they end within MAX_SIDE."""
    tokens: Annotated[int, UInt(0, MAX_TOKENS)] = 0
    """The most that one text may have."""
    context: Annotated[int, UInt(0, MAX_CONTEXT)] = 0
    """Tokens of the prompt that are to be read; 0 = as many as the model can."""
    sample: Annotated[int, UInt(0, MAX_SAMPLE)] = 0
    """Of the workers that hear it by gossip, one in 2**sample is to answer: those that are :func:`drawn`."""

    def check(self) -> None:
        draws, text = self.family in PICTURE_FAMILIES, self.family == "text"
        if bool(self.tokens) != text or (self.context and not text):
            raise Malformed(f"{self.TAG}.tokens: a text has some, and nothing else has any")
        if (self.steps > 0) != draws:
            raise Malformed(f"{self.TAG}.steps: pictures take some, and nothing else takes any")
        low = 8 if draws else 0 if text else 1
        if min(self.width, self.height) < low or (text and self.width + self.height):
            raise Malformed(f"{self.TAG}.width: {self.width}x{self.height} is no size for the family {self.family}")
        if max(self.width, self.height) * self.enlarge > MAX_SIDE:
            raise Malformed(f"{self.TAG}.enlarge: {self.enlarge} times {self.width}x{self.height}, beyond {MAX_SIDE} a side")
        if not 0 < self.expires_ms - self.created_ms <= MAX_OFFER_LIFETIME_MS:
            raise Malformed(f"{self.TAG}.expires_ms: it must be 1 to {MAX_OFFER_LIFETIME_MS} ms after created_ms")
        _check_total(self.TAG, self.max_mkudos, self.count)


def drawn(offer_id: bytes, worker: bytes, sample: int) -> bool:
    """Is this worker (its public key) to answer an offer that it heard by gossip?"""
    draw = hashlib.sha256(_DRAW_DOMAIN + offer_id + worker).digest()
    return int.from_bytes(draw[:4]) >> (32 - sample) == 0


@dataclass(frozen=True, slots=True)
class Bid(Record):
    TAG = "bid/1"
    LIMITS = Limits(max_bytes=1024, max_depth=1)
    net: NetId
    offer_id: Hash
    digest: Hash
    """The weights it would run."""
    count: Annotated[int, UInt(1, MAX_COUNT)]
    """At most so many of the offer's pictures."""
    mkudos: MilliKudos
    """For one picture."""
    start_ms: Annotated[int, UInt(0, 24 * 3600 * 1000)]
    """From now until its engine is free for this job."""
    picture_ms: Annotated[int, UInt(0, 24 * 3600 * 1000)]
    """For each picture from then on."""
    seal_key: Annotated[bytes, Bin(32)]
    """X25519: the work is sealed to this key."""
    head_seq: Annotated[int, UInt(1)]
    head_id: Hash
    """The worker's chain; a HOLD names it, which entangles the two chains."""
    known_seq: Annotated[int, UInt()]
    """How far the worker holds the requester's chain: the award brings what follows."""
    expires_ms: Millis

    def check(self) -> None:
        _check_total(self.TAG, self.mkudos, self.count)


@dataclass(frozen=True, slots=True)
class Refusal(Record):
    TAG = "refusal/1"
    LIMITS = Limits(max_bytes=512, max_depth=1)
    net: NetId
    offer_id: Hash
    reason: Annotated[str, Text(24, choices=REASONS)]
    limit: Annotated[int, UInt()]


@dataclass(frozen=True, slots=True)
class Award(Record):
    TAG = "award/1"
    LIMITS = Limits(max_bytes=256 * 1024, max_depth=2)
    net: NetId
    offer_id: Hash
    bid_id: Hash
    count: Annotated[int, UInt(1, MAX_COUNT)]
    hold_id: Hash
    chain: Annotated[tuple[bytes, ...], Array(Bin(1, 4096 + 128), MAX_CHAIN_ENTRIES)] = field(repr=False)
    """The requester's entries after the bid's ``known_seq``, the HOLD last (fewer if they are too many: then pull)."""
    sealed: Annotated[bytes, Bin(1, MAX_SEALED_BYTES)] = field(repr=False)
    """An order of :mod:`meshgen.protocols.order`, sealed to the bid's key."""


@dataclass(frozen=True, slots=True)
class Cancel(Record):
    """The requester needs no (more) bids for this offer."""

    TAG = "cancel/1"
    LIMITS = Limits(max_bytes=256, max_depth=1)
    net: NetId
    offer_id: Hash


def _check_total(tag: str, mkudos: int, count: int) -> None:
    """One HOLD has to be able to cover all pictures."""
    if mkudos * count > MAX_MKUDOS:
        raise Malformed(f"{tag}: {count} pictures at {mkudos} mkudos come to more than one hold may have, {MAX_MKUDOS}")


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {
    "offer": Offer.decode,
    "bid": Bid.decode,
    "refusal": Refusal.decode,
    "award": Award.decode,
    "cancel": Cancel.decode,
}
