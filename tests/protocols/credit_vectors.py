"""The credit protocol's vectors, made from fixed keys and times: ``python -m tests.protocols.credit_vectors`` writes them anew.

Bytes are put together here from the specification, not by the module under test, wherever that module could not make them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgpack
from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

from meshgen.identity import Identity
from meshgen.ledger.branches import heard
from meshgen.ledger.fold import balances, gather, gifts
from meshgen.ledger.forks import ForkEvidence
from meshgen.protocols.credit import (
    MAX_HEADS,
    MAX_HOLD_MS,
    PROOF,
    VECTOR_DECODERS,
    Entry,
    Frontier,
    Heads,
    HeadsRequest,
    RangeReply,
    RangeRequest,
    Release,
    decode_entry,
    make_entry,
    net_id,
)
from tests.conformance.vectors import FOLDER, Vector, describe
from tests.protocols import credit_words as words
from tests.protocols.credit_story import (
    CLAIM_CHAIN,
    NET,
    PAYEE,
    PAYEE_CHAIN,
    PAYER,
    PAYER_CHAIN,
    THIRD,
    TS,
    bill,
    chain,
    claim,
    consent,
    genesis,
    h,
    hold,
    receipt,
    voucher,
)

ROOT = FOLDER / "credit"
ORDER = 2**252 + 27742317777372353535851937790883648493
IDENTITY_POINT = bytes([1]) + bytes(31)
SMALL_ORDER = tuple(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
)
NON_CANONICAL = tuple(
    bytes.fromhex(point)
    for point in (
        "0100000000000000000000000000000000000000000000000000000000000080",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
)

Json = dict[str, Any]


# -- bytes by the specification alone


def pack(value: object) -> bytes:
    return bytes(msgpack.packb(value, use_bin_type=True))


def signed(body: bytes, signer: Identity = PAYER, domain: bytes = b"meshgen/credit/entry-sig/v1\0") -> bytes:
    entry_id = hashlib.sha256(b"meshgen/credit/entry/v1\0" + body).digest()
    return pack([body, signer.sign(domain + entry_id)])


def body(**changes: object) -> list[object]:
    """A good GENESIS as a list, with changes by name."""
    fields: dict[str, object] = {
        "version": 1,
        "net": NET,
        "author": PAYER.public_key,
        "seq": 1,
        "prev": b"",
        "ts_ms": TS,
        "kind": 0,
        "data": [b"", h("next-key"), "laptop"],
    }
    return list((fields | changes).values())


# -- vectors: single messages


def valid_messages() -> Iterator[tuple[str, str, bytes]]:
    """(name, kind, bytes)."""
    yield "entry-genesis", "entry", PAYER_CHAIN[0].wire
    yield "entry-hold", "entry", PAYER_CHAIN[1].wire
    yield "entry-receipt", "entry", PAYER_CHAIN[4].wire
    yield "entry-release-consented", "entry", PAYER_CHAIN[5].wire
    yield "entry-release-expired", "entry", PAYER_CHAIN[7].wire
    yield "entry-claim", "entry", CLAIM_CHAIN[1].wire
    yield "entry-kind-255-carried", "entry", signed(pack(body(seq=2, prev=h("prev"), kind=255, data=[])))
    yield "entry-depth-4", "entry", signed(pack(body(seq=2, prev=h("prev"), kind=8, data=[[[2**53 - 1]]])))
    yield "bill", "bill", bill(PAYER_CHAIN[1], 18_000).encode()
    yield "voucher", "voucher", voucher(PAYER_CHAIN[1], 9_000).encode()
    yield "consent", "consent", consent(PAYER_CHAIN[2]).encode()
    yield "heads-request", "heads?", HeadsRequest(NET, (PAYER.public_key, PAYEE.public_key)).encode()
    yield "heads-request-any", "heads?", HeadsRequest(NET, ()).encode()
    frontier = Frontier(PAYER.public_key, 8, PAYER_CHAIN[7].id)
    yield "heads", "heads", Heads(NET, (frontier,)).encode()
    yield "range-request", "range?", RangeRequest(NET, PAYER.public_key, 1, 1024).encode()
    yield "range-reply", "range", RangeReply(NET, PAYEE.public_key, 1, (PAYEE_CHAIN[0].wire,)).encode()
    yield from words.valid_messages()


FOREIGN: dict[str, tuple[object, str]] = {
    "nil": (None, "no place"),
    "true": (True, "no place"),
    "float": (1.0, "no place"),
    "negative": (-1, "outside"),
    "map": ({}, "no place"),
    "ext": (msgpack.ExtType(1, b""), "no place"),
}


def bad_encodings() -> Iterator[tuple[str, str, bytes, str]]:
    """(name, kind, bytes, part of the error): the decode rule."""
    good = PAYER_CHAIN[0]
    yield "entry-empty", "entry", b"", "not msgpack"
    yield "entry-trailing-byte", "entry", good.wire + b"\0", "not"
    yield "entry-truncated", "entry", good.wire[:-1], "not"
    yield "entry-list-of-three", "entry", pack([good.body, good.sig, b""]), "not"
    yield "entry-too-long", "entry", signed(pack(body(kind=PROOF, seq=2, prev=h("p"), data=[bytes(4100)]))), "more than"
    yield "entry-body-1025", "entry", signed(_sized_body(1025)), "more than the 1024 allowed"
    for name, (value, error) in FOREIGN.items():
        yield f"entry-{name}-inside", "entry", signed(pack(body(kind=8, seq=2, prev=h("p"), data=[value]))), error
    yield "entry-2-to-the-53", "entry", signed(pack(body(ts_ms=2**53))), "2^53-1"
    yield "entry-depth-5", "entry", signed(pack(body(kind=8, seq=2, prev=h("p"), data=[[[[1]]]]))), "deeper than 4"
    yield "entry-65-items", "entry", signed(pack(body(kind=8, seq=2, prev=h("p"), data=[0] * 65))), "not msgpack"
    yield "entry-label-not-ascii", "entry", signed(pack(body(data=[b"", h("next-key"), "caf\u00e9"]))), "ASCII"
    yield "entry-label-newline", "entry", signed(pack(body(data=[b"", h("next-key"), "a\nb"]))), "ASCII"
    wide = pack(body()).replace(b"\x01" + b"\xc4\x00", b"\xcc\x01" + b"\xc4\x00", 1)  # seq 1 as uint8
    yield "entry-integer-not-minimal", "entry", signed(wide), "canonical"
    long_array = b"\xdc\x00\x08" + pack(body())[1:]
    yield "entry-array-not-minimal", "entry", signed(long_array), "canonical"
    yield "entry-text-for-bytes", "entry", signed(pack(body(net="sixteen letters!"))), "not an entry"
    yield "bill-trailing-byte", "bill", bill(PAYER_CHAIN[1], 1).encode() + b"\0", "not"
    yield "heads-too-many", "heads?", pack(["heads?/1", NET, [PAYER.public_key] * (MAX_HEADS + 1)]), "not msgpack"


def _sized_body(size: int) -> bytes:
    empty = pack(body(kind=8, seq=2, prev=h("p"), data=[bytes(256)]))
    return pack(body(kind=8, seq=2, prev=h("p"), data=[bytes(256 + size - len(empty))]))


def bad_fields() -> Iterator[tuple[str, str, bytes, str]]:
    """(name, kind, bytes, part of the error): well encoded and signed, but no message of this protocol."""
    yield "entry-version-2", "entry", signed(pack(body(version=2))), "not an entry"
    yield "entry-nine-fields", "entry", signed(pack([*body(), 0])), "not an entry"
    yield "entry-net-15-bytes", "entry", signed(pack(body(net=NET[:15]))), "16, 32 and 64 bytes"
    yield "entry-author-33-bytes", "entry", signed(pack(body(author=PAYER.public_key + b"\0"))), "16, 32 and 64 bytes"
    yield "entry-seq-0", "entry", signed(pack(body(seq=0))), "entry 0"
    yield "entry-1-with-prev", "entry", signed(pack(body(prev=h("prev")))), "entry 1: prev"
    yield "entry-2-without-prev", "entry", signed(pack(body(seq=2))), "entry 2: prev"
    yield "entry-kind-256", "entry", signed(pack(body(kind=256))), "kind 256"
    yield "genesis-label-65", "entry", signed(pack(body(data=[b"", h("next-key"), "x" * 65]))), "genesis.label"
    yield "genesis-two-fields", "entry", signed(pack(body(data=[b"", h("next-key")]))), "genesis"
    good = list(PAYER_CHAIN[1].data)
    for name, index, value, error in (
        ("hold-amount-over-2-to-the-40", 2, 2**40 + 1, "hold.amount"),
        ("hold-payee-31-bytes", 1, PAYEE.public_key[:31], "hold.payee"),
        ("hold-payee-seq-0", 4, 0, "hold.payee_seq"),
        ("hold-amount-as-bytes", 2, b"\1", "hold.amount"),
    ):
        data = [*good[:index], value, *good[index + 1 :]]
        yield name, "entry", signed(pack(body(kind=1, seq=2, prev=h("p"), data=data))), error
    for name, content, index, wrong, error in words.bad_fields():
        data = [*content.data()[:index], wrong, *content.data()[index + 1 :]]
        yield name, "entry", signed(pack(body(kind=content.KIND, seq=2, prev=h("p"), data=data))), error
    yield from words.bad_messages()
    yield "hold-seven-fields", "entry", signed(pack(body(kind=1, seq=2, prev=h("p"), data=[*good, 0]))), "hold"
    yield "bill-version-2", "bill", pack([pack([2, *bill(PAYER_CHAIN[1], 1).to_value()[1:-1]]), bytes(64)]), "version 1"
    frontier = ["f", PAYER.public_key, 0, h("id")]
    yield "heads-seq-0", "heads", pack(["heads/1", NET, [frontier]]), "f.seq"
    yield "heads-frontier-of-two", "heads", pack(["heads/1", NET, [frontier[:3]]]), "not a f of 3 fields"
    yield "range-reply-with-an-empty-entry", "range", pack(["range/1", NET, PAYER.public_key, 1, [b""]]), "range/1.entries[0]"
    yield "range-reply-as-a-request", "range", RangeRequest(NET, PAYER.public_key, 1, 2).encode(), "not a range/1"
    yield "range-request-from-0", "range?", pack(["range?/1", NET, PAYER.public_key, 0, 5]), "from_seq"


def bad_signatures() -> Iterator[tuple[str, str, bytes, str]]:
    """(name, kind, bytes, part of the error): rule R1 and the domains."""
    why = "signature"
    good = PAYER_CHAIN[0]
    yield "sig-of-another-key", "entry", signed(good.body, THIRD), why
    yield "sig-in-the-bill-domain", "entry", signed(good.body, PAYER, b"meshgen/credit/bill/v1\0"), why
    yield "sig-flipped-bit", "entry", pack([good.body, good.sig[:10] + bytes([good.sig[10] ^ 1]) + good.sig[11:]]), why
    yield "sig-63-bytes", "entry", pack([good.body, good.sig[:63]]), "64 bytes"
    yield "sig-zero", "entry", pack([good.body, bytes(64)]), why
    yield "sig-s-plus-order", "entry", pack([good.body, malleated(good.sig)]), why
    for number, point in enumerate(SMALL_ORDER):
        yield f"key-small-order-{number}", "entry", forged(point), why
    for number, point in enumerate(NON_CANONICAL):
        yield f"key-not-canonical-{number}", "entry", forged(point), why
    mixed = crypto_core_ed25519_add(PAYER.public_key, SMALL_ORDER[4])
    yield "key-of-mixed-order", "entry", signed(pack(body(author=mixed)), PAYER), why
    yield "sig-r-identity", "entry", pack([pack(body(author=IDENTITY_POINT)), IDENTITY_POINT + bytes(32)]), why
    one = bill(PAYER_CHAIN[1], 5)
    yield "bill-signed-by-payer", "bill", replace(one, sig=PAYER.sign(one.sig)).encode(), why
    yield "bill-with-a-vouchers-signature", "bill", replace(one, sig=voucher(PAYER_CHAIN[1], 5).sig).encode(), why
    yield "bill-with-another-amount", "bill", replace(one, amount=6).encode(), why
    two = voucher(PAYER_CHAIN[1], 5)
    yield "voucher-signed-by-payee", "voucher", replace(two, sig=consent(PAYER_CHAIN[1]).sig).encode(), why
    yield "voucher-for-another-mesh", "voucher", replace(two, net=net_id(b"another")).encode(), why
    three = consent(PAYER_CHAIN[1])
    yield "consent-for-another-hold", "consent", replace(three, hold_id=h("hold")).encode(), why


def malleated(sig: bytes) -> bytes:
    """The same signature with s + L: the same equation, other bytes."""
    s = int.from_bytes(sig[32:], "little") + ORDER
    return sig[:32] + s.to_bytes(32, "little")


def forged(author: bytes) -> bytes:
    """R = sB, made without any secret: for an author of small order it satisfies the equation for about every eighth message."""
    scalar = (7).to_bytes(32, "little")
    return pack([pack(body(author=author)), crypto_scalarmult_ed25519_base_noclamp(scalar) + scalar])


# -- vectors: chains and folds


def bad_chains() -> Iterator[tuple[str, Sequence[Entry], int, str]]:
    """(name, entries, number of the first that may not stand, part of the error)."""
    start = (0, genesis("laptop"))
    held = (1000, lambda _: hold("job 1", 20_000))

    def after_hold(make: Callable[[list[Entry]], Any], ms: int = 2000) -> list[Entry]:
        return chain(PAYER, start, held, (ms, make))

    yield "no-genesis", chain(PAYER, (0, lambda _: hold("job 1", 1))), 1, "GENESIS"
    yield "second-genesis", chain(PAYER, start, start), 2, "GENESIS"
    yield "dated-back", chain(PAYER, (5, genesis("laptop")), (4, lambda _: hold("job 1", 1))), 2, "dated before"
    yield "missing-entry", [PAYER_CHAIN[0], PAYER_CHAIN[2]], 3, "number 3 where 2 belongs"
    stray = make_entry(PAYER, NET, 2, h("elsewhere"), TS, kind=1, data=hold("job 1", 1).data())
    yield "other-prev", [PAYER_CHAIN[0], stray], 2, "prev differs"
    yield "another-author", [PAYER_CHAIN[0], CLAIM_CHAIN[1]], 2, "another author"
    abroad = make_entry(PAYER, net_id(b"another"), 2, PAYER_CHAIN[0].id, TS, kind=1, data=hold("job 1", 1).data())
    yield "another-mesh", [PAYER_CHAIN[0], abroad], 2, "another mesh"
    yield "hold-for-oneself", chain(PAYER, start, (1000, lambda _: hold("job 1", 1, PAYER))), 2, "oneself"
    yield "hold-born-expired", chain(PAYER, start, (1000, lambda _: hold("job 1", 1, expires_ms=TS + 1000))), 2, "expires"
    far = TS + 1000 + MAX_HOLD_MS + 1
    yield "hold-over-7-days", chain(PAYER, start, (1000, lambda _: hold("job 1", 1, expires_ms=far))), 2, "expires"
    yield "receipt-over-hold", after_hold(lambda past: receipt(past[1], 20_001)), 3, "over a HOLD"
    yield "receipt-without-hold", after_hold(lambda past: replace(receipt(past[1], 1), hold_id=h("x"))), 3, "no open HOLD"
    yield "receipt-to-another-payee", after_hold(lambda past: replace(receipt(past[1], 1), payee=THIRD.public_key)), 3, "payee"
    yield "receipt-for-another-job", after_hold(lambda past: replace(receipt(past[1], 1), job=h("x"))), 3, "job"
    yield "receipt-above-its-bill", after_hold(lambda past: replace(receipt(past[1], 1), amount=2)), 3, "bill"
    consenting = after_hold(lambda past: replace(receipt(past[1], 1), bill_sig=consent(past[1]).sig))
    yield "receipt-with-a-consent", consenting, 3, "bill"
    twice = chain(PAYER, start, held, (2000, lambda p: receipt(p[1], 1)), (3000, lambda p: receipt(p[1], 2)))
    yield "receipt-twice", twice, 4, "no open HOLD"
    yield "release-too-early", after_hold(lambda past: Release(past[1].id, 0, b""), 599_999), 3, "consent"
    yield "release-with-a-bill", after_hold(lambda past: Release(past[1].id, 0, bill(past[1], 1).sig), 700_000), 3, "consent"
    paid = chain(PAYER, start, held, (2000, lambda p: receipt(p[1], 1)), (700_000, lambda p: Release(p[1].id, 0, b"")))
    yield "release-of-a-paid-hold", paid, 4, "no open HOLD"
    claiming = (0, genesis("workshop"))
    job_2 = PAYER_CHAIN[2]
    yield "claim-above-its-voucher", chain(PAYEE, claiming, (1, lambda _: replace(claim(job_2, 5), amount=6))), 2, "voucher"
    yield "claim-by-another-payee", chain(THIRD, claiming, (1, lambda _: claim(job_2, 5))), 2, "voucher"
    yield "claim-on-oneself", chain(PAYER, claiming, (1, lambda _: claim(job_2, 5))), 2, "oneself"
    again = chain(PAYEE, claiming, (1, lambda _: claim(job_2, 5)), (2, lambda _: claim(job_2, 5)))
    yield "claim-no-higher", again, 3, "above"
    yield from words.bad_chains()


def folds() -> Iterator[tuple[str, Sequence[Entry], Sequence[ForkEvidence]]]:
    start, held = (0, genesis("laptop")), (1000, lambda _: hold("job 1", 10_000))
    open_hold = chain(PAYER, start, held)
    claimed = chain(PAYEE, (0, genesis("workshop")), (3000, lambda _: claim(open_hold[1], 4_000)))
    too_much = chain(PAYEE, (0, genesis("workshop")), (3000, lambda _: claim(open_hold[1], 40_000)))
    released = chain(PAYER, start, held, (600_000, lambda past: Release(past[1].id, 0, b"")))
    agreed = chain(PAYER, start, held, (2000, lambda past: Release(past[1].id, 1, consent(past[1]).sig)))
    paid = chain(PAYER, start, held, (2000, lambda past: receipt(past[1], 3_000)))
    yield "the-whole-story", [*PAYER_CHAIN, *CLAIM_CHAIN], ()
    yield "open-hold", open_hold, ()
    yield "claimed", [*claimed, *open_hold], ()
    yield "claimed-above-the-hold", [*too_much, *open_hold], ()
    yield "claimed-and-released", [*released, *claimed], ()
    yield "claimed-against-a-consent", [*agreed, *claimed], ()
    yield "claimed-above-the-receipt", [*paid, *claimed], ()
    yield "claim-without-its-hold", claimed, ()
    by_number = chain(PAYEE, (0, genesis("workshop")), (3000, lambda _: replace(claim(open_hold[1], 4_000), hold_seq=3)))
    yield "claimed-by-another-number", [*by_number, *open_hold], ()
    yield from words.folds()


# -- files


def expected(kind: str, data: bytes) -> Json:
    told: Json = describe(VECTOR_DECODERS[kind](data))
    return {name: value for name, value in told.items() if name not in ("body", "sig")}


def message_vectors() -> Iterator[Vector]:
    for name, kind, data in valid_messages():
        yield Vector("credit", kind, name, data, expect=expected(kind, data))
    for name, kind, data, error in (*bad_encodings(), *bad_fields(), *bad_signatures()):
        yield Vector("credit", kind, name, data, error=error)


def history(name: str, entries: Sequence[Entry], **more: object) -> str:
    head = {"name": name, "protocol": "credit", "entries": [entry.wire.hex() for entry in entries]}
    return json.dumps(head | more, indent=2) + "\n"


def chain_file(name: str, entries: Sequence[Entry], **more: object) -> str:
    return history(name, entries, net=NET.hex(), author=entries[0].author.hex(), **more)


def fold_file(name: str, entries: Sequence[Entry], forks: Sequence[ForkEvidence]) -> str:
    decoded = heard([decode_entry(entry.wire) for entry in entries], forks)
    sums = balances(gather(decoded, forks), gifts(decoded))
    proofs = [[wire.hex() for wire in fork.wires] for fork in forks]
    expect = {author.hex(): asdict(balance) for author, balance in sorted(sums.items())}
    return history(name, entries, forks=proofs, expect=expect)


def account_file(name: str, entries: Sequence[Entry], expect: dict[bytes, bytes]) -> str:
    return history(name, entries, expect={key.hex(): account.hex() for key, account in sorted(expect.items())})


def files() -> dict[Path, str]:
    """Each file and what it holds."""
    made = {vector.path: vector.to_json() for vector in message_vectors()}
    for name, entries in (("payer", PAYER_CHAIN), ("payee", CLAIM_CHAIN)):
        made[ROOT / f"chains/valid/{name}.json"] = chain_file(name, entries, expect={"id": entries[-1].id.hex()})
    for name, chained, seq, error in bad_chains():
        made[ROOT / f"chains/invalid/{name}.json"] = chain_file(name, chained, seq=seq, error=error)
    for name, chained in words.good_chains():
        made[ROOT / f"chains/valid/{name}.json"] = chain_file(name, chained, expect={"id": chained[-1].id.hex()})
    for name, folded, forks in folds():
        made[ROOT / f"folds/{name}.json"] = fold_file(name, folded, forks)
    for name, named, members in words.accounts():
        made[ROOT / f"accounts/{name}.json"] = account_file(name, named, members)
    return made


def main() -> None:
    made = files()
    for file in set(ROOT.rglob("*.json")) - set(made):
        file.unlink()
    for file, content in made.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
