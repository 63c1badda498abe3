"""Rule R1 against every way known to bend Ed25519, in every place where a signature counts.

The keys and signatures are made here, by :mod:`tests.curve`; the library alone takes many of them, and each such test says so, so
that it fails where nothing is defended any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from meshgen.identity import Identity, is_sound_key, verify
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.forks import judge
from meshgen.ledger.rules import replay
from meshgen.protocols.charter import Charter, CharterSignature, SignedCharter
from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.credit import (
    Bill,
    Checkpoint,
    Claim,
    Consent,
    Content,
    Cosig,
    Genesis,
    Hold,
    Proof,
    Receipt,
    Release,
    Voucher,
    Witness,
    decode_entry,
    entry_id,
)
from meshgen.protocols.envelope import unsign
from meshgen.protocols.offer import Cancel
from tests.curve import BASE, TORSION, ZERO, Key, L, challenge, forge, forge_with_cofactor, holds_with_cofactor, make_key
from tests.ledger.people import EXPIRES_MS, NET, RESULT, START_MS, Author, author, job

SECRET = 0x1CE_CAFE_1234_5678_9ABC_DEF0_1357_9BDF_0246_8ACE_FEDC_BA98
SMALL_ORDER = [make_key(0, torsion, form) for torsion in range(8) for form in range(len(list(TORSION[torsion].encodings())))]
MIXED_ORDER = [make_key(SECRET, torsion) for torsion in range(1, 8)]
GOOD = make_key(SECRET, 0)


def label(key: Key) -> str:
    return f"{'mixed' if key.secret else 'small'}-{key.torsion}-{key.encoding.hex()[:4]}{key.encoding.hex()[-2:]}"


def bare(key: bytes, signature: bytes, message: bytes) -> bool:
    """What the library says if nobody stands before it."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


# -- the arithmetic itself


def test_the_arithmetic_is_ed25519s() -> None:
    assert BASE * L == ZERO
    assert len(set(TORSION)) == 8
    assert all(point * 8 == ZERO for point in TORSION)
    seed = bytes(range(32))
    secret = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & (2**254 - 8) | 2**254
    assert make_key(secret, 0).encoding == Identity.from_seed(seed).public_key


def test_a_good_key_and_signature_are_taken() -> None:
    assert is_sound_key(GOOD.encoding)
    signature = forge(GOOD, b"message", r_torsion=0)
    assert verify(GOOD.encoding, signature, b"message")
    assert bare(GOOD.encoding, signature, b"message")
    assert not verify(GOOD.encoding, signature, b"another")


# -- keys


def test_there_are_eight_points_of_small_order_and_six_more_ways_to_write_them() -> None:
    assert len({key.encoding for key in SMALL_ORDER}) == 14
    assert len({key.point for key in SMALL_ORDER}) == 8


@pytest.mark.parametrize("key", SMALL_ORDER + MIXED_ORDER, ids=label)
def test_no_key_with_torsion_is_sound(key: Key) -> None:
    assert not is_sound_key(key.encoding)
    for message in (b"one", b"another"):
        signature = forge(key, message)
        assert not verify(key.encoding, signature, message)


@pytest.mark.parametrize("key", [key for key in SMALL_ORDER if key.encoding == key.point.encode()] + MIXED_ORDER, ids=label)
def test_the_library_alone_takes_them(key: Key) -> None:
    assert bare(key.encoding, forge(key, b"message"), b"message")


def test_one_signature_for_every_message() -> None:
    key = make_key(0, 0)
    signature = BASE.encode() + (1).to_bytes(32, "little")
    for message in (b"one", b"another", b"a third"):
        assert bare(key.encoding, signature, message)
        assert not verify(key.encoding, signature, message)


@pytest.mark.parametrize("y", range(19))
def test_keys_that_are_not_canonical_are_refused(y: int) -> None:
    """y + p fits into 255 bits for y below 19: a second way to write the same y."""
    for sign in (0, 1):
        encoding = (y + 2**255 - 19 | sign << 255).to_bytes(32, "little")
        assert not is_sound_key(encoding)
        assert not verify(encoding, forge(GOOD, b"message"), b"message")


# -- R


@pytest.mark.parametrize("torsion", range(8))
def test_an_r_of_small_order_is_refused(torsion: int) -> None:
    """The key is good, and s made to fit: without cofactor the equation fails for all but the identity, which R1 bars."""
    for r in TORSION[torsion].encodings():
        s = challenge(r, GOOD.encoding, b"message") * GOOD.secret % L
        assert not verify(GOOD.encoding, r + s.to_bytes(32, "little"), b"message")


def test_the_library_alone_takes_the_identity_as_r() -> None:
    signature = forge(GOOD, b"message", r_secret=0, r_torsion=0)
    assert signature[:32] == ZERO.encode()
    assert bare(GOOD.encoding, signature, b"message")
    assert not verify(GOOD.encoding, signature, b"message")


@pytest.mark.parametrize("torsion", range(1, 8))
def test_an_r_with_torsion_is_refused_though_it_holds_with_cofactor(torsion: int) -> None:
    signature = forge_with_cofactor(GOOD, b"message", torsion)
    assert holds_with_cofactor(GOOD, signature, b"message")
    assert not bare(GOOD.encoding, signature, b"message")
    assert not verify(GOOD.encoding, signature, b"message")


# -- s


@pytest.mark.parametrize("times", range(1, 16))
def test_an_s_of_l_or_more_is_refused(times: int) -> None:
    signature = forge(GOOD, b"message", r_torsion=0)
    s = int.from_bytes(signature[32:], "little") + times * L
    assert not verify(GOOD.encoding, signature[:32] + s.to_bytes(32, "little"), b"message")


def test_an_s_at_the_edges_fits_nothing() -> None:
    for s in (0, L, 2**256 - 1, 2**255, 2**252):
        for r in (ZERO.encode(), BASE.encode(), GOOD.encoding, bytes(32), b"\xff" * 32):
            assert not verify(GOOD.encoding, r + s.to_bytes(32, "little"), b"message")


# -- the twelve cases of "Taming the many EdDSAs", made anew


@dataclass(frozen=True)
class Case:
    """``library``: what it says without R1. R1 always says no."""

    what: str
    key: Key
    make: Callable[[Key, bytes], bytes]
    library: bool


def _with_s(signature: bytes, more: int) -> bytes:
    return signature[:32] + (int.from_bytes(signature[32:], "little") + more).to_bytes(32, "little")


def _by(**parts: int) -> Callable[[Key, bytes], bytes]:
    return partial(forge, **parts)


def _plus(times: int) -> Callable[[Key, bytes], bytes]:
    return lambda key, message: _with_s(forge(key, message, r_torsion=0), times * L)


def _other_r(key: Key, message: bytes) -> bytes:
    """R in another form than the one that was hashed."""
    return next(islice(ZERO.encodings(), 1, None)) + forge(key, message, r_secret=0, r_torsion=0)[32:]


def _other_key(key: Key, message: bytes) -> bytes:
    """The key in another form than the one that was hashed."""
    return forge(Key(key.secret, key.torsion, key.point.encode()), message)


SMALL, MIXED = make_key(0, 4), make_key(SECRET, 1)
NOT_CANONICAL = make_key(0, 0, 1)
CASES = [
    Case("0: small key, small R, s = 0", make_key(0, 0), _by(r_secret=0), True),
    Case("1: small key, mixed R", SMALL, _by(r_torsion=4), True),
    Case("2: mixed key, small R", make_key(SECRET, 4), _by(r_secret=0), True),
    Case("3: mixed key, mixed R, holds without cofactor", MIXED, _by(r_torsion=3), True),
    Case("4: mixed key, mixed R, holds with cofactor alone", MIXED, partial(forge_with_cofactor, r_torsion=1), False),
    Case("5: mixed key, R of prime order, holds with cofactor alone", MIXED, partial(forge_with_cofactor, r_torsion=0), False),
    Case("6: s + L", GOOD, _plus(1), False),
    Case("7: s + 14 L", GOOD, _plus(14), False),
    Case("8: R not canonical", make_key(0, 0), _by(r_secret=0, r_torsion=0, r_form=1), False),
    Case("9: R not canonical, hashed in canonical form", GOOD, _other_r, False),
    Case("10: key not canonical", NOT_CANONICAL, forge, True),
    Case("11: key not canonical, hashed in canonical form", NOT_CANONICAL, _other_key, True),
]


def _first(make: Callable[[Key, bytes], bytes], key: Key) -> tuple[bytes, bytes]:
    """A message for which such a signature exists, and that."""
    for number in range(1000):
        with suppress(LookupError):
            return b"message %d" % number, make(key, b"message %d" % number)
    raise AssertionError("none of 1000 messages has such a signature")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_taming_the_many_eddsas(case: Case) -> None:
    message, signature = _first(case.make, case.key)
    assert bare(case.key.encoding, signature, message) == case.library
    assert not verify(case.key.encoding, signature, message)


# -- every place where a signature counts

Sign = Callable[[bytes], bytes]
Place = Callable[[bytes, Sign], None]
"""Build the thing with ``key`` as the one who signs, signed by ``sign``, and show it. Raises what such a place raises."""


def _entry(key: bytes, sign: Sign, name: str = "") -> bytes:
    content = Genesis(b"", bytes(32), name)
    body = encode((1, NET, key, 1, b"", START_MS, Genesis.KIND, content.data()))
    return encode((body, sign(b"meshgen/credit/entry-sig/v1\0" + entry_id(body))))


def _signed(note: Any, sign: Sign) -> Any:
    return replace(note, sig=sign(note.DOMAIN + hashlib.sha256(note.body()).digest()))


def an_entry(key: bytes, sign: Sign) -> None:
    decode_entry(_entry(key, sign))


def evidence_of_a_fork(key: bytes, sign: Sign) -> None:
    judge(NET, (_entry(key, sign, "one"), _entry(key, sign, "two")))


def a_proof_in_a_log(key: bytes, sign: Sign) -> None:
    one, two = sorted(
        (decode_entry(_entry(key, sign, name), verify=False) for name in ("one", "two")), key=lambda entry: entry.id
    )
    _append(Proof(0, one.body, one.sig, two.body, two.sig))


def an_envelope(key: bytes, sign: Sign) -> None:
    body = Cancel(NET, bytes(32)).encode()
    unsign(encode((body, key, sign(b"meshgen/cancel/1\0" + hashlib.sha256(key + body).digest()))), Cancel)


def a_bill(key: bytes, sign: Sign) -> None:
    Bill.decode(_signed(Bill(NET, job(1), job(2), author(1).key, key, 5, RESULT), sign).encode())


def a_voucher(key: bytes, sign: Sign) -> None:
    Voucher.decode(_signed(Voucher(NET, job(2), key, author(1).key, 5), sign).encode())


def a_consent(key: bytes, sign: Sign) -> None:
    Consent.decode(_signed(Consent(NET, job(2), author(1).key, key), sign).encode())


def a_bill_in_a_receipt(key: bytes, sign: Sign) -> None:
    payer = author(1)
    hold = payer.write(Hold(job(1), key, 5, EXPIRES_MS, 1, bytes(32)))
    bill = _signed(Bill(NET, job(1), hold.id, payer.key, key, 5, RESULT), sign)
    _append(Receipt(job(1), hold.id, key, 5, RESULT, 1, bill.sig), payer)


def a_voucher_in_a_claim(key: bytes, sign: Sign) -> None:
    payee = author(1)
    voucher = _signed(Voucher(NET, job(2), key, payee.key, 5), sign)
    _append(Claim(job(2), 2, key, 5, voucher.sig, RESULT), payee)


def a_consent_in_a_release(key: bytes, sign: Sign) -> None:
    payer = author(1)
    hold = payer.write(Hold(job(1), key, 5, EXPIRES_MS, 1, bytes(32)))
    consent = _signed(Consent(NET, hold.id, payer.key, key), sign)
    _append(Release(hold.id, 1, consent.sig), payer)


def a_witness_of_a_checkpoint(key: bytes, sign: Sign) -> None:
    writer = author(1)
    note = _signed(Witness(NET, writer.key, *writer.head, 0, 0, 0, bytes(32), key), sign)
    cosig = Cosig(key, note.sig)
    _append(Checkpoint(*writer.head, 0, 0, 0, bytes(32), (cosig,)), writer)


def a_charter(key: bytes, sign: Sign) -> None:
    charter = SignedCharter.unsigned(Charter("mesh", delegates=(key,), threshold=1))
    signature = CharterSignature(key, sign(b"meshgen/charter-sig/v1\0" + charter.hash))
    charter.with_signatures((signature,)).signers((key,))


def _append(content: Content, writer: Author | None = None) -> None:
    writer = writer or author(1)
    writer.write(content)
    replay(NET, writer.key, writer.entries)


PLACES: list[Place] = [
    *(an_entry, evidence_of_a_fork, a_proof_in_a_log, an_envelope, a_bill, a_voucher, a_consent),
    *(a_bill_in_a_receipt, a_voucher_in_a_claim, a_consent_in_a_release, a_witness_of_a_checkpoint, a_charter),
]
BENT: dict[str, tuple[Key, Callable[[Key, bytes], bytes]]] = {
    **{f"key of order {order}": (make_key(0, 8 // order % 8), forge) for order in (1, 2, 4, 8)},
    "key of mixed order": (MIXED, forge),
    "key not canonical": (NOT_CANONICAL, forge),
    "the identity as R": (GOOD, _by(r_secret=0, r_torsion=0)),
    "R with torsion": (GOOD, partial(forge_with_cofactor, r_torsion=4)),
    "s + L": (GOOD, _plus(1)),
}
TAKEN_BY_THE_LIBRARY = set(BENT) - {"R with torsion", "s + L"}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_a_good_signature_counts_in_each_place(place: Place) -> None:
    place(GOOD.encoding, lambda message: forge(GOOD, message, r_torsion=0))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("bent", BENT)
def test_no_bent_signature_counts_in_any_place(place: Place, bent: str) -> None:
    key, make = BENT[bent]
    verdicts: list[bool] = []

    def sign(message: bytes) -> bytes:
        signature = make(key, message)
        verdicts.append(bare(key.encoding, signature, message))
        return signature

    with pytest.raises((Malformed, InvalidEntry), match=r"sign|prove"):
        place(key.encoding, sign)
    assert set(verdicts) == {bent in TAKEN_BY_THE_LIBRARY}, "what the library alone says of it"
