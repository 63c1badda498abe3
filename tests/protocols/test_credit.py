"""The credit protocol's bytes: the check vector, every file of vectors, rule R1, and that nothing but Malformed comes out."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.identity import Identity
from meshgen.ledger.accounts import Accounts
from meshgen.ledger.branches import heard
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.fold import balances, gather, gifts
from meshgen.ledger.forks import judge
from meshgen.ledger.rules import Chain
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    GENESIS,
    MAX_BODY_BYTES,
    MAX_NOTE_BYTES,
    MAX_PICTURES,
    MAX_WIRE_BYTES,
    VECTOR_DECODERS,
    Advisory,
    Bill,
    CharterEntry,
    Checkpoint,
    Claim,
    Consent,
    Cosig,
    Genesis,
    Hold,
    Key,
    Receipt,
    Release,
    Transfer,
    Vouch,
    Voucher,
    decode_entry,
    job_id,
    make_entry,
    net_id,
    result_commitment,
)
from tests.protocols import credit_vectors as made


def loaded(folder: str) -> list[Any]:
    paths = sorted((made.ROOT / folder).glob("*.json"))
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in paths]


def test_the_designs_check_vector() -> None:
    identity = Identity.from_seed(bytes(range(32)))
    net = net_id(b"charter-v0")
    data = (b"", hashlib.sha256(b"next-key").digest(), "laptop")
    entry = make_entry(identity, net, 1, b"", 1_789_000_000_000, kind=GENESIS, data=data)
    assert net.hex() == "fb463ab014e59b585f945307decbb8f9"
    assert entry.id.hex() == "2649994bde40c7a417bc1f8872871ee6594155896505ee1de5304942de82f15b"
    assert len(entry.wire) == 180
    assert decode_entry(entry.wire) == entry


# -- the files


def test_the_files_are_what_the_generator_makes() -> None:
    """Run ``python -m tests.protocols.credit_vectors`` after a change, and look at what it changed."""
    assert {path: path.read_text(encoding="utf-8") for path in made.ROOT.rglob("*.json")} == made.files()


@pytest.mark.parametrize("vector", loaded("vectors/valid"))
def test_what_was_decoded_encodes_to_the_same_bytes(vector: dict[str, Any]) -> None:
    """That vectors decode as they say is tests/conformance's to check."""
    data = bytes.fromhex(vector["hex"])
    message: Any = VECTOR_DECODERS[vector["kind"]](data)
    assert (message.wire if vector["kind"] == "entry" else message.encode()) == data


@pytest.mark.parametrize("vector", loaded("chains/valid"))
def test_valid_chain(vector: dict[str, Any]) -> None:
    chain = Chain(bytes.fromhex(vector["net"]), bytes.fromhex(vector["author"]))
    for wire in vector["entries"]:
        chain.append(decode_entry(bytes.fromhex(wire)))
    assert chain.head.id.hex() == vector["expect"]["id"]


@pytest.mark.parametrize("vector", loaded("chains/invalid"))
def test_invalid_chain(vector: dict[str, Any]) -> None:
    chain = Chain(bytes.fromhex(vector["net"]), bytes.fromhex(vector["author"]))
    *good, bad = [decode_entry(bytes.fromhex(wire)) for wire in vector["entries"]]
    for entry in good:
        chain.append(entry)
    assert bad.seq == vector["seq"]
    with pytest.raises(InvalidEntry) as caught:
        chain.append(bad)
    assert vector["error"] in str(caught.value)


@pytest.mark.parametrize("vector", loaded("folds"))
def test_fold(vector: dict[str, Any]) -> None:
    entries = [decode_entry(bytes.fromhex(wire)) for wire in vector["entries"]]
    forks = [judge(entries[0].net, (bytes.fromhex(one), bytes.fromhex(other))) for one, other in vector["forks"]]
    for order in (entries, entries[::-1]):
        counted = heard(order, forks)
        sums = balances(gather(counted, forks), gifts(counted))
        assert {author.hex(): (b.earned, b.spent, b.held, b.contested) for author, b in sums.items()} == {
            author: tuple(expect.values()) for author, expect in vector["expect"].items()
        }
        assert sum(balance.net for balance in sums.values()) == 0


@pytest.mark.parametrize("vector", loaded("accounts"))
def test_accounts(vector: dict[str, Any]) -> None:
    entries = [decode_entry(bytes.fromhex(wire)) for wire in vector["entries"]]
    for order in (entries, entries[::-1], entries * 2):
        accounts = Accounts()
        for entry in order:
            accounts.add(entry)
        assert {key: accounts.account_of(bytes.fromhex(key)).hex() for key in vector["expect"]} == vector["expect"]


# -- rule R1


def test_without_r1_the_library_alone_would_accept_a_forgery() -> None:
    """Why R1 exists: for a key of small order, one signature made without a secret stands for any message."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    body, sig = msgpack.unpackb(made.forged(made.IDENTITY_POINT))
    entry_id = hashlib.sha256(b"meshgen/credit/entry/v1\0" + body).digest()
    Ed25519PublicKey.from_public_bytes(made.IDENTITY_POINT).verify(sig, b"meshgen/credit/entry-sig/v1\0" + entry_id)
    with pytest.raises(Malformed, match="signature"):
        decode_entry(made.forged(made.IDENTITY_POINT))


@pytest.mark.parametrize("key", [*made.SMALL_ORDER, *made.NON_CANONICAL], ids=bytes.hex)
def test_no_note_of_an_unsound_key_counts(key: bytes) -> None:
    sig = made.forged(key)[-64:]
    here, other = made.PAYER.public_key, made.h("x")
    assert not Bill(made.NET, other, other, here, key, 1, other, sig).is_signed()
    assert not Voucher(made.NET, other, key, here, 1, sig).is_signed()
    assert not Consent(made.NET, other, here, key, sig).is_signed()


# -- notes


def test_a_note_is_signed_by_the_one_whom_it_binds() -> None:
    held = made.PAYER_CHAIN[1]
    with pytest.raises(ValueError, match="payee's to sign"):
        made.bill(held, 1).sign(made.PAYER)
    with pytest.raises(ValueError, match="payer's to sign"):
        made.voucher(held, 1).sign(made.PAYEE)
    with pytest.raises(ValueError, match="payee's to sign"):
        made.consent(held).sign(made.THIRD)


def test_an_unsigned_note_counts_for_nothing() -> None:
    held = made.PAYER_CHAIN[1]
    note = Voucher(made.NET, held.id, made.PAYER.public_key, made.PAYEE.public_key, 5)
    assert not note.is_signed()
    with pytest.raises(Malformed):
        Voucher.decode(note.encode())


def test_one_signature_serves_one_purpose() -> None:
    """The bodies of consent and voucher differ in their length alone; the domains keep them and the entries apart."""
    held = made.PAYER_CHAIN[1]
    sigs = {made.bill(held, 5).sig, made.voucher(held, 5).sig, made.consent(held).sig, held.sig}
    assert len(sigs) == 4
    assert not Consent(made.NET, held.id, made.PAYER.public_key, made.PAYEE.public_key, made.bill(held, 5).sig).is_signed()


# -- commitments


def test_result_commitment() -> None:
    pictures = [(bytes([number]) * 16, made.h(str(number))) for number in range(3)]
    seen = {result_commitment(pictures[:count]) for count in (1, 2, 3)} | {result_commitment(pictures[::-1])}
    assert len(seen) == 4
    for bad in ([], pictures * 22, [(b"short", made.h("0"))], [(bytes(16), b"short")]):
        with pytest.raises(ValueError, match=r"picture"):
            result_commitment(bad)
    assert MAX_PICTURES == 64


def test_job_id_needs_its_randomness() -> None:
    assert job_id(bytes(32), made.h("offer")) == hashlib.sha256(bytes(32) + made.h("offer")).digest()
    with pytest.raises(ValueError, match="32 random bytes"):
        job_id(b"", made.h("offer"))


# -- limits and hostile bytes


def test_the_largest_of_each_kind_fit() -> None:
    top, key = 2**40, made.h("x")
    largest = (
        Genesis(key, key, "x" * 64),
        Hold(key, key, top, 2**53 - 1, 2**53 - 1, key),
        Receipt(key, key, key, top, key, 2**32, bytes(64)),
        Claim(key, top, key, top, bytes(64), key),
        Release(key, 255, bytes(64)),
        Transfer(key, top, 255, key),
        Vouch(key, top, 2**53 - 1, 1),
        Advisory("x" * 32, 1, 255, key, "x" * 64, 255, 2**53 - 1, key),
        Key(255, key, key, 2**53 - 1, key, top),
        Checkpoint(2**53 - 1, key, *[2**53 - 1] * 3, key, (Cosig(key, bytes(64)),) * 5),
        CharterEntry(key, 2**53 - 1, key),
    )
    for content in largest:
        entry = make_entry(made.PAYER, made.NET, 2**53 - 1, key, 2**53 - 1, kind=content.KIND, data=content.data())
        assert len(entry.body) <= MAX_BODY_BYTES
        assert type(content).from_entry(entry) == content == entry.content
    assert len(made.bill(made.PAYER_CHAIN[1], top).encode()) <= MAX_NOTE_BYTES


def test_a_view_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(Malformed, match="kind 0 is no hold"):
        Hold.from_entry(made.PAYER_CHAIN[0])


@given(st.sampled_from(sorted(VECTOR_DECODERS)), st.binary(max_size=400))
def test_any_bytes_give_malformed_or_a_message(kind: str, data: bytes) -> None:
    with suppress(Malformed):
        VECTOR_DECODERS[kind](data)


@given(st.sampled_from(list(made.valid_messages())), st.data())
def test_any_changed_byte_of_a_signed_message_is_refused(vector: tuple[str, str, bytes], data: st.DataObject) -> None:
    _, kind, wire = vector
    index = data.draw(st.integers(0, len(wire) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != wire[index]))
    changed = wire[:index] + bytes([value]) + wire[index + 1 :]
    if kind in ("entry", "bill", "voucher", "consent"):
        with pytest.raises(Malformed):
            VECTOR_DECODERS[kind](changed)
        return
    with suppress(Malformed):
        message: Any = VECTOR_DECODERS[kind](changed)
        assert message.encode() == changed


def test_a_bomb_of_nested_arrays_is_refused() -> None:
    with pytest.raises(Malformed):
        decode_entry(b"\x91" * MAX_WIRE_BYTES)
