"""What of the charter's vectors its fields alone don't give: texts that contradict themselves, signatures, whole lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import msgpack

from meshgen.identity import Identity
from meshgen.peers.tariff import AlchemyForm, ImageWork, alchemy_mkudos, image_mkudos, text_mkudos
from meshgen.protocols.charter import VECTOR_DECODERS, Charter, CharterPolicies, CharterSignature, SignedCharter, Tariff
from meshgen.protocols.codec import encode
from meshgen.protocols.record import Record, field_kinds
from tests.conformance.samples import REQUESTER, SAMPLES, WORKER
from tests.conformance.vectors import FOLDER, Vector, describe

KINDS_OF_RECORDS = [kind for kind in VECTOR_DECODERS if kind != "charter-lineage"]
PRICES = FOLDER / "charter" / "prices"
STRANGER = Identity.from_seed(bytes(range(64, 96)))

_CHARTER: Any = SAMPLES[Charter]
BOTH = replace(_CHARTER, threshold=2)


def signed(charter: Charter, *by: Identity) -> SignedCharter:
    document = SignedCharter.unsigned(charter)
    for identity in by:
        document = document.signed_by(identity)
    return document


def child(parent: Charter, **changes: Any) -> Charter:
    return replace(parent, **{"version": parent.version + 1, "parent": parent.hash, **changes})


def charter_vectors() -> Iterator[Vector]:
    for name, record, error in _contradictions():
        yield Vector("charter", record[0].removesuffix("/1"), name, msgpack.packb(record), error=error)
    least = Charter("our-collective", delegates=(WORKER.public_key,), threshold=1)
    yield Vector("charter", "charter", "charter-of-defaults", least.encode(), describe(least))
    plain = Charter("meshgen-public-v0")
    yield Vector("charter", "charter", "charter-of-a-plain-name", plain.encode(), describe(plain))
    for name, added in _added():
        yield Vector("charter", "charter", name, added.encode(), describe(added))
    for name, documents in _lines():
        data = encode(tuple(document.encode() for document in documents))
        told = describe(VECTOR_DECODERS["charter-lineage"](data))
        yield Vector("charter", "charter-lineage", name, data, {key: told[key] for key in ("net", "current")})
    for name, documents, error in _broken_lines():
        data = encode(tuple(document.encode() for document in documents))
        yield Vector("charter", "charter-lineage", name, data, error=error)


def _changed(record: Record, **changes: Any) -> tuple[Any, ...]:
    """The wire form with fields that together are none."""
    names = [name for name, _ in field_kinds(type(record))]
    return (record.TAG, *[changes.get(name, value) for name, value in zip(names, record.to_value()[1:], strict=False)])


def _contradictions() -> Iterator[tuple[str, tuple[Any, ...], str]]:
    keys = _CHARTER.delegates
    yield "charter-name-upper-case", _changed(_CHARTER, name="Our-Collective"), "charter/1.name"
    yield "charter-name-with-a-space", _changed(_CHARTER, name="our collective"), "charter/1.name"
    yield "charter-0-with-a-parent", _changed(_CHARTER, parent=bytes(32)), "charter/1.parent"
    yield "charter-1-without-a-parent", _changed(_CHARTER, version=1), "charter/1.parent"
    yield "charter-delegates-descending", _changed(_CHARTER, delegates=keys[::-1]), "charter/1.delegates"
    yield "charter-delegate-twice", _changed(_CHARTER, delegates=(keys[0], *keys)), "charter/1.delegates"
    yield "charter-threshold-0", _changed(_CHARTER, threshold=0), "charter/1.threshold"
    yield "charter-threshold-3-of-2", _changed(_CHARTER, threshold=3), "charter/1.threshold"
    yield "charter-threshold-of-nobody", _changed(_CHARTER, delegates=(), threshold=1), "charter/1.threshold"
    yield "charter-tariff-in-place-of-limits", _changed(_CHARTER, limits=Tariff().to_value()), "charter-limits/1"
    tariff = _changed(_CHARTER.tariff, step_mkudos=1_000_001)
    yield "charter-tariff-step-above", _changed(_CHARTER, tariff=tariff), "tariff/1.step_mkudos"
    yield "tariff-exponent-between-eighths", _changed(Tariff(), area_exponent_permille=1300), "area_exponent_permille"
    yield "tariff-sharing-costs", _changed(Tariff(), shared_mkudos=3001), "shared_mkudos"
    yield "charter-policies-all-paused", _changed(CharterPolicies(), declines=("paused",)), "declines"
    yield from _wrongly_added()
    document = signed(_CHARTER, REQUESTER, WORKER)
    values = [signature.to_value() for signature in document.signatures]
    yield "charter-signed-signatures-descending", _changed(document, signatures=tuple(values[::-1])), "signatures"
    yield "charter-signed-twice-by-one", _changed(document, signatures=(values[0], *values)), "signatures"
    yield "charter-signed-of-no-charter", _changed(document, body=Tariff().encode()), "not a charter/1"
    yield "charter-signed-not-canonical", _changed(document, body=b"\xdc\x00\x0c" + document.body[1:]), "canonical"


def _added() -> Iterator[tuple[str, Charter]]:
    """With the fields that a version before did not know."""
    yield "charter-of-members", replace(_CHARTER, members="listed", roll_threshold=2)
    yield "charter-that-pays-relays", replace(_CHARTER, relay_gib_mkudos=250)


def _wrongly_added() -> Iterator[tuple[str, tuple[Any, ...], str]]:
    short, nobody = _CHARTER.to_value(), Charter("our-collective").to_value()
    yield "charter-added-as-by-default", (*short, "open", 1, 0), "left out"
    yield "charter-added-in-part", (*short, "listed"), "not a charter/1"
    yield "charter-members-unknown", (*short, "closed", 1, 0), "members"
    yield "charter-members-as-bin", (*short, b"listed", 1, 0), "members"
    yield "charter-members-of-nobody", (*nobody, "listed", 1, 0), "members"
    yield "charter-roll-threshold-below", (*short, "listed", 0, 0), "roll_threshold"
    yield "charter-roll-threshold-3-of-2", (*short, "listed", 3, 0), "roll_threshold"
    yield "charter-roll-threshold-above", (*short, "listed", 33, 0), "roll_threshold"
    yield "charter-relay-gib-mkudos-above", (*short, "open", 1, 1_000_001), "relay_gib_mkudos"
    yield "charter-relay-gib-mkudos-as-text", (*short, "open", 1, "1"), "relay_gib_mkudos"


def _lines() -> Iterator[tuple[str, Sequence[SignedCharter]]]:
    founded = signed(BOTH, REQUESTER, WORKER)
    yield "lineage-founded-by-one-of-two", [signed(_CHARTER, WORKER)]
    yield "lineage-founded-by-both", [founded]
    cheaper = child(BOTH, tariff=Tariff(step_mkudos=50), threshold=1)
    yield "lineage-amended", [founded, signed(cheaper, REQUESTER, WORKER)]
    other = child(cheaper, delegates=(STRANGER.public_key,))
    last = child(other, about="ours now")
    yield "lineage-handed-over", [founded, signed(cheaper, REQUESTER, WORKER), signed(other, WORKER), signed(last, STRANGER)]


def _broken_lines() -> Iterator[tuple[str, Sequence[SignedCharter], str]]:
    founded = signed(BOTH, REQUESTER, WORKER)
    forged = replace(signed(_CHARTER, WORKER).signatures[0], signature=WORKER.sign(b"something else"))
    nobody = Charter("our-collective")
    yield "lineage-of-nothing", [], "no version 0"
    yield "lineage-signed-by-one-where-two-must", [signed(BOTH, WORKER)], "1 of the 2"
    yield "lineage-unsigned", [signed(_CHARTER)], "0 of the 1"
    yield "lineage-signed-by-a-stranger-too", [signed(_CHARTER, WORKER, STRANGER)], "no delegate"
    yield "lineage-forged", [SignedCharter(_CHARTER.encode(), (forged,))], "does not fit"
    yield "lineage-signed-another-text", [_moved(signed(BOTH, WORKER), _CHARTER)], "does not fit"
    yield "lineage-signed-without-domain", [_bare(_CHARTER)], "does not fit"
    yield "lineage-without-delegates", [signed(nobody)], "nobody has signed"
    yield "lineage-without-its-founding", [signed(child(BOTH), REQUESTER, WORKER)], "version 0 does"
    skipped = child(child(BOTH, about="1"), about="2")
    yield "lineage-with-a-gap", [founded, signed(skipped, REQUESTER, WORKER)], "no child"
    yield "lineage-of-another-parent", [founded, signed(child(_CHARTER), REQUESTER, WORKER)], "no child"
    yield "lineage-amended-by-one-where-two-must", [founded, signed(child(BOTH, threshold=1), WORKER)], "1 of the 2"
    seized = child(BOTH, delegates=(STRANGER.public_key,), threshold=1)
    yield "lineage-amended-by-its-own-delegate", [founded, signed(seized, STRANGER)], "no delegate"
    yield "lineage-given-up", [founded, signed(child(BOTH, delegates=(), threshold=0), REQUESTER, WORKER)], "needs delegates"
    yield "lineage-renamed", [founded, signed(child(BOTH, name="theirs"), REQUESTER, WORKER)], "keeps its name"
    yield "lineage-backwards", [founded, founded], "no child"


def _moved(document: SignedCharter, to: Charter) -> SignedCharter:
    return SignedCharter(to.encode(), document.signatures)


def _bare(charter: Charter) -> SignedCharter:
    return SignedCharter(charter.encode(), (CharterSignature(WORKER.public_key, WORKER.sign(charter.hash)),))


ODD = Tariff(
    step_mkudos=7,
    overhead_steps=0,
    area_permille=8750,
    area_exponent_permille=1875,
    families_permille=(999, 1001, 1, 0, 12_345),
    source_permille=333,
    post_processor_permille=1999,
    surcharge_mkudos=5,
    shared_mkudos=4,
    token_mkudos=3,
)
DEAR = Tariff(step_mkudos=10**6, area_permille=10**6, area_exponent_permille=4000)


def prices() -> dict[Path, str]:
    """Worked examples of the formulas, a file for each tariff."""
    return {PRICES / f"{name}.json": _worked(tariff) for name, tariff in (("default", Tariff()), ("odd", ODD), ("dear", DEAR))}


def _worked(tariff: Tariff) -> str:
    pictures = [
        ImageWork(64, 64, 20),
        ImageWork(8, 8, 1, "other"),
        ImageWork(512, 512, 50),
        ImageWork(512, 512, 50, shared=True),
        ImageWork(512, 512, 50, shared=True, source=True),
        ImageWork(512, 512, 50, shared=True, controlnet=True),
        ImageWork(768, 512, 30, "sdxl", controlnet=True, source=True, post_processors=2, loras=3, inversions=True),
        ImageWork(560, 560, 50, hires_fix=True),
        ImageWork(568, 560, 50, hires_fix=True),
        ImageWork(1024, 1024, 1, hires_fix=True),
        ImageWork(1024, 1024, 50, hires_fix=True, source=True),
        ImageWork(1024, 1024, 50, "other", hires_fix=True),
        ImageWork(1536, 1536, 33, "sdxl", hires_fix=True, controlnet=True),
        ImageWork(512, 512, 50, post_processors=1, enlarge=4),
        ImageWork(520, 512, 50, post_processors=2, enlarge=4),
        ImageWork(8, 8, 1, post_processors=1, enlarge=2),
        ImageWork(512, 512, 4, "flux", post_processors=2, enlarge=16),
        ImageWork(1024, 1024, 4, "flux"),
        ImageWork(8192, 8192, 1000, "flux"),
    ]
    made = [{"work": "image", **dict(describe(work)), "mkudos": image_mkudos(work, tariff)} for work in pictures]
    forms: list[AlchemyForm] = ["plain", "interrogation", "upscale"]
    for form, pixels in product(forms, (0, 2**22, 2**22 + 1, 2**26)):
        made.append({"work": "alchemy", "form": form, "pixels": pixels, "mkudos": alchemy_mkudos(form, pixels, tariff)})
    for tokens, millions, context in [(80, 1000, 1024), (512, 7000, 4096), (512, 70_000, 8192), (1, 1, 1), (4096, 10**6, 2**20)]:
        told = {"work": "text", "tokens": tokens, "model_millions": millions, "context": context}
        made.append(told | {"mkudos": text_mkudos(tokens, millions, context, tariff)})
    keys = {name: value for name, value in describe(tariff).items() if name != "tag"}
    return json.dumps({"tariff": keys, "prices": made}, indent=2) + "\n"


def main() -> None:
    PRICES.mkdir(exist_ok=True)
    for file, text in prices().items():
        file.write_text(text)


if __name__ == "__main__":
    main()
