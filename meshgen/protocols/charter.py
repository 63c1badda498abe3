"""What a mesh agrees on: tariff, limits and policies, signed by delegates. Its first version's hash is the mesh's id.

``body`` is the encoded :class:`Charter`; ``hash = SHA-256(domain || body)``; a delegate signs ``domain || hash``. Signatures
stand beside the body, so they change no hash. Version 0 founds the mesh (``net`` = the front of its hash); each later one names
its parent's hash and is signed by as many delegates as the parent asks for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

from meshgen.identity import SIGNATURE_BYTES, Identity, peer_id, verify
from meshgen.protocols.advert import MAX_ADDRESS_BYTES, PICTURE_FAMILIES
from meshgen.protocols.codec import Limits, Malformed, decode
from meshgen.protocols.record import MAX_MKUDOS, Array, Bin, Hash, MaybeHash, MilliKudos, NetId, Record, Text, UInt

PROTOCOL = "/meshgen/charter/1"
"""To anyone: a CharterQuestion; its answer is a CharterAnswer."""
MAX_BODY_BYTES = 8 * 1024
MAX_DELEGATES = 32
MAX_BOOTSTRAP = 32
MAX_VERSION = 255
MAX_ANSWERED = 16
MAX_PERMILLE = 1_000_000
MAX_EXPONENT = 4000
EXPONENT_STEP = 125
NET_BYTES = 16
MEMBERS = ("open", "listed")

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
"""Plain, so that no mesh passes for another by look-alike letters."""

_HASH_DOMAIN = b"meshgen/charter/v1\0"
_SIGN_DOMAIN = b"meshgen/charter-sig/v1\0"
_Permille = Annotated[int, UInt(0, MAX_PERMILLE)]
_Unit = Annotated[int, UInt(0, MAX_PERMILLE)]
"""A price of something small, in milli-kudos."""


@dataclass(frozen=True, slots=True)
class Tariff(Record):
    """What work costs, in milli-kudos and thousandths. :mod:`meshgen.peers.tariff` has the formulas, the spec the reasons."""

    TAG = "tariff/1"
    step_mkudos: _Unit = 100
    """A denoising step of a picture of 64x64 pixels."""
    overhead_steps: Annotated[int, UInt(0, 1000)] = 20
    """What a picture costs beside its steps."""
    area_permille: _Permille = 3100
    """What a megapixel adds."""
    area_exponent_permille: Annotated[int, UInt(0, MAX_EXPONENT)] = 1250
    """How it grows; a multiple of 125, so that whole-number square roots suffice."""
    families_permille: Annotated[tuple[int, ...], Array(UInt(0, MAX_PERMILLE), len(PICTURE_FAMILIES), len(PICTURE_FAMILIES))] = (
        1000, 2000, 2000, 8000, 1000,
    )  # fmt: skip
    """The factor of each model family, in the order of PICTURE_FAMILIES."""
    source_permille: _Permille = 1300
    post_processor_permille: _Permille = 1200
    controlnet_permille: _Permille = 1300
    lora_mkudos: _Unit = 3000
    inversions_mkudos: _Unit = 1000
    surcharge_mkudos: _Unit = 3000
    shared_mkudos: _Unit = 1000
    """In place of the surcharge for a picture whose owner lets it be shared."""
    alchemy_mkudos: _Unit = 1000
    interrogation_mkudos: _Unit = 3000
    upscale_tile_mkudos: _Unit = 3000
    alchemy_surcharge_mkudos: _Unit = 1000
    token_mkudos: _Unit = 10
    """A token by a model of a billion parameters."""
    text_surcharge_mkudos: _Unit = 2000

    def check(self) -> None:
        if self.area_exponent_permille % EXPONENT_STEP:
            raise Malformed(f"{self.TAG}.area_exponent_permille: it must be a multiple of {EXPONENT_STEP}")
        if self.shared_mkudos > self.surcharge_mkudos:
            raise Malformed(f"{self.TAG}.shared_mkudos: more than surcharge_mkudos, so that sharing would cost")


@dataclass(frozen=True, slots=True)
class CharterLimits(Record):
    """What members take from each other at most."""

    TAG = "charter-limits/1"
    max_hold_mkudos: Annotated[int, UInt(1, MAX_MKUDOS)] = MAX_MKUDOS
    stranger_entries: Annotated[int, UInt(1, 2**32)] = 2048
    """New credit entries a day that a peer takes in of an author whom nobody owes anything."""


@dataclass(frozen=True, slots=True)
class CharterPolicies(Record):
    """What a worker does unless its owner says otherwise."""

    TAG = "charter-policies/1"
    max_pixels: Annotated[int, UInt(64 * 64, 2**26)] = 2**20
    max_steps: Annotated[int, UInt(1, 1000)] = 100
    max_count: Annotated[int, UInt(1, 64)] = 8
    price_permille: _Permille = 1000
    max_debt_mkudos: MilliKudos = MAX_MKUDOS
    stranger_pictures_per_minute: Annotated[int, UInt(0, 1_000_000)] = 60
    """For one requester without standing; 0 = no limit."""
    declines: Annotated[tuple[str, ...], Array(Text(24, low=1), 8)] = ()
    """What workers say in their adverts that they do not do, e.g. ``no-nsfw``."""

    def check(self) -> None:
        if "paused" in self.declines:
            raise Malformed(f"{self.TAG}.declines: `paused` is an owner's word, a charter can't say it for all")


@dataclass(frozen=True, slots=True)
class Charter(Record):
    """One version. ``delegates`` are public keys in ascending order; none of them: a plain name, which nobody can amend."""

    TAG = "charter/1"
    LIMITS = Limits(max_bytes=MAX_BODY_BYTES, max_depth=3)
    ADDED = 3
    name: Annotated[str, Text(64, low=1)]
    version: Annotated[int, UInt(0, MAX_VERSION)] = 0
    parent: MaybeHash = b""
    """The hash of the version before; none for version 0."""
    about: Annotated[str, Text(256)] = ""
    delegates: Annotated[tuple[bytes, ...], Array(Bin(32), MAX_DELEGATES)] = ()
    threshold: Annotated[int, UInt(0, MAX_DELEGATES)] = 0
    """How many delegates must sign the next version."""
    bootstrap: Annotated[tuple[str, ...], Array(Text(MAX_ADDRESS_BYTES, low=1), MAX_BOOTSTRAP)] = ()
    treasury: Annotated[bytes, Bin(32, optional=True)] = b""
    """A peer that may be given credit for the mesh's common purposes."""
    tariff: Tariff = field(default_factory=Tariff)
    limits: CharterLimits = field(default_factory=CharterLimits)
    policies: CharterPolicies = field(default_factory=CharterPolicies)
    members: Annotated[str, Text(8, choices=MEMBERS)] = "open"
    """Who may take part: anybody, or those whom the roll lists (:mod:`meshgen.protocols.roll`)."""
    roll_threshold: Annotated[int, UInt(1, MAX_DELEGATES)] = 1
    """How many delegates must have admitted, or expelled, a member for it to count."""
    relay_gib_mkudos: _Unit = 0
    """What members give a relay for each GiB that it carried of theirs."""

    def check(self) -> None:
        if not NAME.fullmatch(self.name):
            raise Malformed(f"{self.TAG}.name: only a-z, 0-9, dots and hyphens, a letter or digit first")
        if (self.version == 0) != (self.parent == b""):
            raise Malformed(f"{self.TAG}.parent: version 0 has none, every other has one")
        if list(self.delegates) != sorted(set(self.delegates)):
            raise Malformed(f"{self.TAG}.delegates: not in ascending order, each once")
        if not min(1, len(self.delegates)) <= self.threshold <= len(self.delegates):
            raise Malformed(f"{self.TAG}.threshold: {self.threshold} of {len(self.delegates)} delegates can't sign")
        if self.roll_threshold > max(1, len(self.delegates)):
            raise Malformed(f"{self.TAG}.roll_threshold: more than there are delegates")
        if self.members == "listed" and not self.delegates:
            raise Malformed(f"{self.TAG}.members: without delegates nobody could list them")

    @property
    def hash(self) -> bytes:
        return charter_hash(self.encode())


def charter_hash(body: bytes) -> bytes:
    return hashlib.sha256(_HASH_DOMAIN + body).digest()


@dataclass(frozen=True, slots=True)
class CharterSignature(Record):
    TAG = "charter-signature/1"
    key: Hash
    """The delegate's public key."""
    signature: Annotated[bytes, Bin(SIGNATURE_BYTES)]


@dataclass(frozen=True, slots=True)
class SignedCharter(Record):
    """A version with the signatures that it has so far, which :meth:`signers` judges."""

    TAG = "charter-signed/1"
    LIMITS = Limits(max_bytes=MAX_BODY_BYTES + 4096, max_depth=3)
    body: Annotated[bytes, Bin(1, MAX_BODY_BYTES)]
    signatures: Annotated[tuple[CharterSignature, ...], Array(CharterSignature, MAX_DELEGATES)]

    def check(self) -> None:
        keys = [signature.key for signature in self.signatures]
        if keys != sorted(set(keys)):
            raise Malformed(f"{self.TAG}.signatures: not in ascending order of their keys, each once")
        Charter.decode(self.body)

    @classmethod
    def unsigned(cls, charter: Charter) -> Self:
        return cls(charter.encode(), ())

    @property
    def charter(self) -> Charter:
        return Charter.decode(self.body)

    @property
    def hash(self) -> bytes:
        return charter_hash(self.body)

    def signed_by(self, identity: Identity) -> SignedCharter:
        signature = CharterSignature(identity.public_key, identity.sign(_SIGN_DOMAIN + self.hash))
        return self.with_signatures((signature,))

    def with_signatures(self, others: Collection[CharterSignature]) -> SignedCharter:
        """These and its own; of one key the new one counts."""
        found = {signature.key: signature for signature in (*self.signatures, *others)}
        return SignedCharter(self.body, tuple(found[key] for key in sorted(found)))

    def signers(self, delegates: Collection[bytes]) -> tuple[bytes, ...]:
        """Whose signatures it has. Raises Malformed at one that is no delegate's, or does not fit."""
        for signature in self.signatures:
            if signature.key not in delegates:
                raise Malformed(f"{self.TAG}: {peer_id(signature.key)} is no delegate who may sign this version")
            if not verify(signature.key, signature.signature, _SIGN_DOMAIN + self.hash):
                raise Malformed(f"{self.TAG}: the signature of {peer_id(signature.key)} does not fit this text")
        return tuple(signature.key for signature in self.signatures)


@dataclass(frozen=True, slots=True)
class Lineage:
    """A mesh's charter through its versions, each complete and the child of the one before. A plain name has no ``documents``."""

    net: bytes
    current: Charter
    documents: tuple[SignedCharter, ...] = ()

    @classmethod
    def plain(cls, name: str) -> Lineage:
        """The mesh of everybody who uses this name: the defaults, no delegates, and the name itself is what is hashed."""
        return cls(hashlib.sha256(name.encode()).digest()[:NET_BYTES], Charter(name))

    @classmethod
    def founded(cls, signed: SignedCharter) -> Lineage:
        """Raises Malformed if this is no complete version 0."""
        charter = signed.charter
        if charter.version:
            raise Malformed(f"charter: version {charter.version} founds no mesh, version 0 does")
        if not charter.delegates:
            raise Malformed("charter: without delegates nobody has signed it")
        _ensure_complete(signed, charter)
        return cls(signed.hash[:NET_BYTES], charter, (signed,))

    @classmethod
    def of(cls, documents: Sequence[SignedCharter]) -> Lineage:
        """All versions from 0 on. Raises Malformed at the first that does not follow."""
        if not documents:
            raise Malformed("charter: there is no version 0")
        lineage = cls.founded(documents[0])
        for document in documents[1:]:
            lineage = lineage.amended(document)
        return lineage

    @property
    def hash(self) -> bytes:
        """Of the current version; b"" for a plain name."""
        return self.documents[-1].hash if self.documents else b""

    def amended(self, signed: SignedCharter) -> Lineage:
        """With the next version. Raises Malformed if it is not the child of the current one, or too few have signed."""
        charter = signed.charter
        if not self.documents:
            raise Malformed(f"charter: {self.current.name} is a plain name without delegates: nobody can amend it")
        if (charter.version, charter.parent) != (self.current.version + 1, self.hash):
            raise Malformed(f"charter: it is no child of version {self.current.version}, which is the current one")
        if not charter.delegates:
            raise Malformed("charter: a version needs delegates, or it were the last")
        if charter.name != self.current.name:
            raise Malformed(f"charter: a mesh keeps its name, which is {self.current.name}")
        _ensure_complete(signed, self.current)
        return Lineage(self.net, charter, (*self.documents, signed))


def _ensure_complete(signed: SignedCharter, rule: Charter) -> None:
    """``rule`` is the version whose delegates decide: its own for version 0, else its parent."""
    signers = len(signed.signers(rule.delegates))
    if signers < rule.threshold:
        raise Malformed(f"charter: {signers} of the {rule.threshold} delegates needed have signed")


@dataclass(frozen=True, slots=True)
class CharterQuestion(Record):
    TAG = "charter-question/1"
    LIMITS = Limits(max_bytes=128, max_depth=1)
    net: NetId
    from_version: Annotated[int, UInt(0, MAX_VERSION + 1)]


@dataclass(frozen=True, slots=True)
class CharterAnswer(Record):
    TAG = "charter-answer/1"
    LIMITS = Limits(max_bytes=256 * 1024, max_depth=2)
    net: NetId
    documents: Annotated[tuple[bytes, ...], Array(Bin(1, MAX_BODY_BYTES + 4096), MAX_ANSWERED)]
    """Signed charters from ``from_version`` on, in order; none if there are none (yet), or no such mesh here."""


def _lineage(data: bytes) -> Lineage:
    documents = decode(data, Limits(max_bytes=64 * 1024, max_depth=1))
    wires = [wire for wire in documents if isinstance(wire, bytes)] if isinstance(documents, tuple) else []
    return Lineage.of([SignedCharter.decode(wire) for wire in wires])


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {
    "tariff": Tariff.decode,
    "charter-limits": CharterLimits.decode,
    "charter-policies": CharterPolicies.decode,
    "charter": Charter.decode,
    "charter-signature": CharterSignature.decode,
    "charter-signed": SignedCharter.decode,
    "charter-question": CharterQuestion.decode,
    "charter-answer": CharterAnswer.decode,
    "charter-lineage": _lineage,
}
