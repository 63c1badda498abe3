"""Writes the vectors of every protocol but credit; the same bytes at each run: ``python -m tests.conformance.make_vectors``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgpack

from meshgen.identity import Identity
from meshgen.protocols import advert, job, offer, order, pulse
from meshgen.protocols.advert import Advert
from meshgen.protocols.codec import Value, encode
from meshgen.protocols.envelope import message_id, sign
from meshgen.protocols.offer import MAX_OFFER_LIFETIME_MS, Bid, Cancel, Offer
from meshgen.protocols.order import Input, WorkOrder
from meshgen.protocols.record import Array, Bin, Record, Text, UInt, field_kinds
from meshgen.protocols.sealing import SealKey
from tests.conformance.hpke import hpke_seal
from tests.conformance.samples import NOW_MS, REQUESTER, SAMPLES, WORKER, h
from tests.conformance.vectors import FOLDER, Vector, describe, describe_value
from tests.protocols.charter_vectors import KINDS_OF_RECORDS, charter_vectors
from tests.protocols.invite_vectors import invite_vectors
from tests.protocols.roll_vectors import KINDS_OF_RECORDS as ROLL_KINDS
from tests.protocols.roll_vectors import roll_vectors

LARGEST_BAD_FIELD = 4096
"""Fields with a higher limit get no vector that is one byte too long."""


def all_vectors() -> Iterator[Vector]:
    yield from codec_vectors()
    yield from envelope_vectors()
    yield from sealing_vectors()
    for module in (advert, offer, order, job, pulse):
        for kind in module.VECTOR_DECODERS:
            yield from record_vectors(module.__name__.split(".")[-1], kind)
    yield from agreement_vectors()
    for kind in ("invite", "peer"):
        yield from record_vectors("invite", kind)
    yield from invite_vectors()
    for kind in KINDS_OF_RECORDS:
        yield from record_vectors("charter", kind)
    yield from charter_vectors()
    for kind in ROLL_KINDS:
        yield from record_vectors("roll", kind)
    yield from roll_vectors()


# -- codec

GOOD_VALUES: dict[str, Value] = {
    **{f"uint-{n}": n for n in (0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1)},
    **{f"text-{n}-bytes": "a" * n for n in (0, 1, 31, 32, 255, 256)},
    **{f"bin-{n}-bytes": bytes(range(256))[:n] * (1 if n <= 256 else 2) for n in (0, 1, 255, 256)},
    **{f"array-{n}-items": (7,) * n for n in (0, 1, 15, 16, 64)},
    "nested-4-deep": ((((1,),),),),
    "mixed": (1, b"\x02", "three", (4, b"")),
}
BAD_BYTES: dict[str, tuple[str, str]] = {
    "nothing": ("", "not msgpack"),
    "uint-not-minimal": ("cc05", "canonical"),
    "uint-as-int8": ("d005", "canonical"),
    "text-not-minimal": ("d90161", "canonical"),
    "bin-not-minimal": ("c5000161", "canonical"),
    "array-not-minimal": ("dc000105", "canonical"),
    "trailing-byte": ("0505", "not msgpack"),
    "negative": ("ff", "outside"),
    "uint-2-to-the-53": ("cf0020000000000000", "outside"),
    "nil": ("c0", "no place"),
    "false": ("c2", "no place"),
    "float": ("cb3ff0000000000000", "no place"),
    "not-a-number": ("cb7ff8000000000000", "no place"),
    "map": ("810102", "not msgpack"),
    "empty-map": ("80", "no place"),
    "ext": ("d40100", "not msgpack"),
    "timestamp": ("d6ff00000000", "not msgpack"),
    "never-used-byte": ("c1", "not msgpack"),
    "text-not-utf-8": ("a1ff", "not msgpack"),
    "text-half-surrogate": ("a3eda080", "not msgpack"),
    "text-overlong": ("a2c080", "not msgpack"),
    "text-not-ascii": ("a2c3a9", "ASCII"),
    "text-control": ("a107", "ASCII"),
    "text-newline": ("a10a", "ASCII"),
    "text-257-bytes": ("da0101" + "61" * 257, "not msgpack"),
    "array-65-items": ("dc0041" + "07" * 65, "not msgpack"),
    "array-of-four-billion": ("ddffffffff", "not msgpack"),
    "bin-cut-short": ("c41000", "not msgpack"),
    "nested-5-deep": ("919191919101", "deeper"),
    "nested-3000-deep": ("91" * 3000 + "01", "not msgpack"),
    "too-long": ("c51000" + "00" * 4096, "more than"),
}


def codec_vectors() -> Iterator[Vector]:
    for name, value in GOOD_VALUES.items():
        yield Vector("codec", "ascii", name, encode(value), {"value": describe_value(value)})
    for text in ("grün", "two\nlines\tand a tab", "\U0001f98a"):
        name = "text-" + hashlib.sha256(text.encode()).hexdigest()[:6]
        yield Vector("codec", "unicode", name, encode(text), {"value": describe_value(text)})
    for name, (data, error) in BAD_BYTES.items():
        yield Vector("codec", "ascii", name, bytes.fromhex(data), error=error)
    yield Vector("codec", "unicode", "unicode-escape", msgpack.packb("\x1b[31m"), error="control")
    yield Vector("codec", "unicode", "unicode-delete", msgpack.packb("ü\x7f"), error="control")


# -- envelope


def envelope_vectors() -> Iterator[Vector]:
    good = sign(WORKER, SAMPLES[Cancel])
    body, author, signature = good.message.encode(), good.author, good.wire[-64:]
    for name, signer in (("cancel-of-the-worker", WORKER), ("same-body-other-author", REQUESTER)):
        signed = sign(signer, SAMPLES[Cancel])
        expect = {"author": signed.author.hex(), "id": signed.id.hex(), "message": describe(signed.message)}
        yield Vector("envelope", "signed cancel", name, signed.wire, expect)
    s_plus_l = (int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493).to_bytes(32, "little")
    identity_point = bytes([1]) + bytes(31)
    bad: dict[str, tuple[tuple[Value, ...], str]] = {
        "another-body": ((SAMPLES[Cancel].encode()[:-1] + b"\0", author, signature), "signature"),
        "another-author": ((body, REQUESTER.public_key, signature), "signature"),
        "signature-changed": ((body, author, signature[:-1] + b"\0"), "signature"),
        "signature-malleated": ((body, author, signature[:32] + s_plus_l), "signature"),
        "signature-of-another-kind": ((body, author, _signed_as(WORKER, "offer/1", body)), "signature"),
        "signature-without-domain": ((body, author, WORKER.sign(message_id(author, body))), "signature"),
        "signature-over-body-alone": (
            (body, author, WORKER.sign(b"meshgen/cancel/1\0" + hashlib.sha256(body).digest())),
            "signature",
        ),
        "small-order-author": ((body, identity_point, identity_point + bytes(32)), "signature"),
        "author-not-canonical": ((body, b"\xff" * 32, signature), "signature"),
        "signature-63-bytes": ((body, author, signature[:63]), "expected"),
        "author-31-bytes": ((body, author[:31], signature), "expected"),
        "two-parts": ((body, author), "expected"),
        "four-parts": ((body, author, signature, b""), "not msgpack"),
        "body-as-array": ((SAMPLES[Cancel].to_value(), author, signature), "deeper"),
        "another-kind": (
            (SAMPLES[Bid].encode(), author, _signed_as(WORKER, "bid/1", SAMPLES[Bid].encode())),
            "none of",
        ),
    }
    for name, (parts, error) in bad.items():
        yield Vector("envelope", "signed cancel", name, encode(parts), error=error)
    yield Vector("envelope", "signed cancel", "trailing-byte", good.wire + b"\0", error="not msgpack")
    yield Vector("envelope", "signed cancel", "no-envelope", body, error="expected")


def _signed_as(identity: Identity, tag: str, body: bytes) -> bytes:
    return identity.sign(b"meshgen/" + tag.encode() + b"\0" + message_id(identity.public_key, body))


# -- sealing


def sealing_vectors() -> Iterator[Vector]:
    private = bytes(range(32))
    key, bid_id, work = SealKey.from_bytes(private), h("bid"), SAMPLES[WorkOrder]
    assert isinstance(work, WorkOrder)
    offer_id, info = work.offer_id, b"meshgen/work/1\0" + work.offer_id + bid_id

    def vector(name: str, plain: bytes, *, ids: tuple[bytes, bytes] = (offer_id, bid_id), error: str = "") -> Vector:
        sealed = hpke_seal(plain, key.public, info)
        expect = None if error else describe(WorkOrder.decode(plain.rstrip(b"\0")[:-1]))
        return Vector("sealing", "sealed", name, encode((private, *ids, sealed)), expect, error)

    def padded(order: WorkOrder) -> bytes:
        data = order.encode() + b"\x80"
        return data + bytes(-len(data) % 256)

    good = padded(work)
    fill = 256 - (len(replace(work, prompt="").encode()) + 1) % 256
    yield vector("work", good)
    yield vector("work-without-prompt", padded(replace(work, prompt="")))
    yield vector("work-that-fills-its-bucket", padded(replace(work, prompt="x" * (fill - 1))))
    yield vector("another-bid", good, ids=(offer_id, h("x")), error="does not open")
    yield vector("another-offer", good, ids=(h("x"), bid_id), error="does not open")
    yield vector("work-for-another-offer", padded(replace(work, offer_id=h("x"))), error="another offer")
    yield vector("no-padding", work.encode(), error="padding")
    yield vector("padding-too-short", work.encode() + b"\x80", error="padding")
    yield vector("padding-too-long", good + bytes(256), error="padding")
    yield vector("no-work", b"\xc0\x80" + bytes(254), error="none of work/1")
    sealed = hpke_seal(good, key.public, info)
    for name, broken in {
        "tag-changed": sealed[:-1] + bytes([sealed[-1] ^ 1]),
        "encapsulated-key-zero": bytes(32) + sealed[32:],
        "cut-short": sealed[:40],
    }.items():
        yield Vector("sealing", "sealed", name, encode((private, offer_id, bid_id, broken)), error="does not open")


# -- records


def record_vectors(protocol: str, kind: str) -> Iterator[Vector]:
    """The sample; then frames that don't fit; then each field once below and once above what it may be."""
    sample = next(sample for sample in SAMPLES.values() if sample.TAG.removesuffix("/1") == kind)
    value = sample.to_value()
    yield Vector(protocol, kind, kind, sample.encode(), describe(sample))
    yield Vector(protocol, kind, f"{kind}-of-another-kind", encode(("other/1", *value[1:])), error="not a")
    yield Vector(protocol, kind, f"{kind}-of-another-version", encode((f"{kind}/2", *value[1:])), error="not a")
    yield Vector(protocol, kind, f"{kind}-with-a-field-more", encode((*value, 0)), error="not a")
    if len(value) > 1:
        yield Vector(protocol, kind, f"{kind}-with-a-field-less", encode(value[:-1]), error="not a")
    for place, (name, wire_type) in enumerate(field_kinds(type(sample))[: len(value) - 1], 1):
        for what, bad in _bad_values(wire_type):
            data = msgpack.packb((*value[:place], bad, *value[place + 1 :]))
            if len(data) <= sample.LIMITS.max_bytes:
                yield Vector(protocol, kind, f"{kind}-{name.replace('_', '-')}-{what}", data, error=_complaint(sample, name, bad))


def _complaint(sample: Record, name: str, bad: Any) -> str:
    """The codec itself refuses texts and arrays beyond the message's limits, before any field is looked at."""
    too_long = isinstance(bad, str) and len(bad) > sample.LIMITS.max_text
    too_many = isinstance(bad, tuple) and len(bad) > sample.LIMITS.max_items
    if too_long or too_many:
        return "not msgpack"
    nested = {
        "models": "model/1",
        "signatures": "charter-signature/1",
        "adapters": "adapter/1",
        "needs": "need/1",
        "held": "roll-held/1",
        "peers": "peer/1",
    }
    nested |= {"inputs": "input/1", "loras": "lora/1", "inversions": "inversion/1", "control": "control/1", "post": "post/1"}
    return f"not a {nested[name]}" if name in nested and bad == (((),),) else f"{sample.TAG}.{name}"


def _bad_values(wire_type: Any) -> Iterator[tuple[str, Any]]:
    match wire_type:
        case UInt(low, high):
            yield "above", high + 1
            if low:
                yield "below", low - 1
            yield "as-text", "1"
        case Bin(low, high, optional):
            if (high or low) < LARGEST_BAD_FIELD:
                yield "longer", bytes((high or low) + 1)
            if low and not (optional and low == 1):
                yield "shorter", bytes(low - 1)
            yield "as-text", "a" * low
        case Text(high, low, choices):
            yield "longer", "a" * (high + 1)
            if choices:
                yield "unknown", "a"
            elif low:
                yield "empty", ""
            yield "as-bin", b"a" * low
        case Array(of, high, low):
            yield "longer", (_least(of),) * (high + 1)
            if low:
                yield "empty", ()
            yield "of-something-else", (((),),)


def _least(wire_type: Any) -> Any:
    match wire_type:
        case UInt(low):
            return low
        case Bin(low):
            return bytes(low)
        case Text(_, low, choices):
            return choices[0] if choices else "a" * low
    return SAMPLES[wire_type].to_value()


def agreement_vectors() -> Iterator[Vector]:
    """Fields that are good alone and bad together."""
    source = SAMPLES[Input].to_value()
    bad: list[tuple[str, type[Record], str, dict[str, Any], str]] = [
        ("offer", Offer, "offer-expires-when-created", {"expires_ms": NOW_MS}, "expires_ms"),
        ("offer", Offer, "offer-lives-too-long", {"expires_ms": NOW_MS + MAX_OFFER_LIFETIME_MS + 1}, "expires_ms"),
        ("offer", Offer, "offer-costs-more-than-a-hold", {"max_mkudos": 2**39 + 1}, "more than one hold"),
        ("offer", Bid, "bid-costs-more-than-a-hold", {"mkudos": 2**39 + 1}, "more than one hold"),
        ("job", job.Progress, "progress-beyond-the-last-step", {"step": 21}, "21 of 20"),
        ("pulse", pulse.Pong, "pong-said-before-it-heard", {"said_ms": NOW_MS + 1_219}, "before heard_ms"),
        ("advert", Advert, "advert-more-free-than-there-is", {"vram_free_mib": 24_577}, "vram_free_mib"),
        ("advert", Advert, "advert-head-without-entries", {"head_seq": 0}, "head_id"),
        ("advert", Advert, "advert-entries-without-head", {"head_id": b""}, "head_id"),
        ("advert", Advert, "advert-alias-not-ascii", {"alias": "Jürgen"}, "alias"),
        ("offer", Offer, "offer-of-a-picture-without-steps", {"steps": 0}, "steps"),
        ("offer", Offer, "offer-of-a-picture-with-tokens", {"tokens": 5}, "tokens"),
        ("offer", Offer, "offer-of-a-text-without-tokens", {"family": "text", "steps": 0, "width": 0, "height": 0}, "tokens"),
        ("offer", Offer, "offer-of-a-text-with-a-size", {"family": "text", "steps": 0, "tokens": 5}, "width"),
        ("offer", Offer, "offer-of-a-form-without-a-size", {"family": "alchemy", "steps": 0, "width": 0}, "width"),
        ("offer", Offer, "offer-grows-beyond-a-picture", {"width": 8192, "enlarge": 2}, "enlarge"),
        ("offer", Offer, "offer-model-with-newline", {"model": "a\nb"}, "model"),
        ("order", WorkOrder, "work-prompt-with-escape", {"prompt": "\x1b[31m"}, "prompt"),
        (
            "order",
            WorkOrder,
            "work-with-two-sources",
            {"inputs": (source,) * 2, "control": ()},
            "one of a kind",
        ),
        ("order", WorkOrder, "work-with-a-control-without-its-picture", {"inputs": ()}, "control"),
        ("order", WorkOrder, "work-model-not-ascii", {"model": "modèle"}, "model"),
    ]
    for protocol, cls, name, changes, error in bad:
        fields = {field: changes.get(field, part) for field, part in zip(_names(cls), SAMPLES[cls].to_value()[1:], strict=True)}
        yield Vector(protocol, name.split("-")[0], name, msgpack.packb((cls.TAG, *fields.values())), error=error)
    offer: Any = SAMPLES[Offer]
    free = {
        "offer-free": replace(offer, max_mkudos=0, digest=b"", features=(), addresses=()),
        "offer-of-a-text": replace(offer, family="text", width=0, height=0, steps=0, tokens=80, context=512, needs=()),
        "offer-of-a-form": replace(offer, family="alchemy", model="upscaler", steps=0, needs=(), enlarge=4, nsfw=1),
    }
    for name, record in free.items():
        yield Vector("offer", "offer", name, record.encode(), describe(record))
    bare = replace(SAMPLES[Advert], models=(), roles=(), addresses=(), policies=(), head_seq=0, head_id=b"", alias="")  # type: ignore[type-var]
    yield Vector("advert", "advert", "advert-bare", bare.encode(), describe(bare))
    direct, relay = SAMPLES[Advert].addresses[0], SAMPLES[Offer].addresses[0]  # type: ignore[attr-defined]
    through = f"{relay}/p2p-circuit/p2p/{direct.rpartition('/p2p/')[2]}"
    behind = replace(SAMPLES[Advert], addresses=(through, direct))  # type: ignore[type-var]
    yield Vector("advert", "advert", "advert-through-a-relay", behind.encode(), describe(behind))


def _names(cls: type[Record]) -> list[str]:
    return [name for name, _ in field_kinds(cls)]


def main() -> None:
    made = {vector.path: vector.to_json() for vector in all_vectors()}
    ours = {path.parent.parent for path in made}
    for path in [path for folder in ours for path in folder.glob("*valid/*.json")]:
        if path not in made:
            path.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"{len(made)} vectors in {FOLDER}")


if __name__ == "__main__":
    main()
