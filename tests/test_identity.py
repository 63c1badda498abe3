"""Keys, their file, peer ids, and rule R1."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.identity import KEY_FILE, Identity, IdentityError, is_sound_key, load_or_create, peer_id, public_key_of, verify

ALICE = Identity.from_seed(bytes(range(32)))
L = 2**252 + 27742317777372353535851937790883648493  # the group's order
P = 2**255 - 19


# -- the file


def test_the_first_run_makes_a_key_and_later_runs_keep_it(tmp_path: Path) -> None:
    first = load_or_create(tmp_path / "home")
    assert load_or_create(tmp_path / "home") == first
    assert stat.S_IMODE((tmp_path / "home" / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == [KEY_FILE]
    assert load_or_create(tmp_path / "another").peer_id != first.peer_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_create(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(IdentityError, match="chmod 600"):
        load_or_create(tmp_path)


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_file_of_another_length_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    load_or_create(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(IdentityError, match="instead of 32"):
        load_or_create(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() == content


def test_a_home_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IdentityError, match="can't be used"):
        load_or_create(tmp_path / "file")
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(IdentityError, match="can't be used"):
        load_or_create(tmp_path)


def test_a_race_of_first_runs_makes_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: load_or_create(tmp_path).peer_id, range(16)))
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_the_secret_shows_nowhere() -> None:
    assert repr(ALICE.seed) not in repr(ALICE)
    assert ALICE.seed.hex() not in repr(ALICE)


# -- peer ids


def test_peer_ids_are_libp2ps() -> None:
    """The known answer of libp2p's peer id spec for an Ed25519 key, and this key's own."""
    spec = bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
    assert peer_id(spec) == "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    assert public_key_of(peer_id(spec)) == spec


def test_peer_ids_agree_with_py_libp2p() -> None:
    keys = pytest.importorskip("libp2p.crypto.ed25519")
    from libp2p.peer.id import ID

    assert str(ID.from_pubkey(keys.create_new_key_pair(ALICE.seed).public_key)) == ALICE.peer_id


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_holds_its_key(key: bytes) -> None:
    assert public_key_of(peer_id(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "0OIl", "é", "1" * 10_000),
        *(ALICE.peer_id + " ", ALICE.peer_id[:-1], ALICE.peer_id + "1", "1" + ALICE.peer_id),
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",  # an RSA peer's
    ],
)
def test_what_is_no_peer_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        public_key_of(text)


def test_a_key_of_another_length_has_no_peer_id() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        peer_id(bytes(31))


# -- rule R1


def _point(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


SMALL_ORDER = [
    _point(0),
    _point(0, 1),
    _point(1),
    _point(P - 1),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
]
NOT_CANONICAL = [_point(1, 1), _point(P - 1, 1), _point(P), _point(P, 1), _point(P + 1), _point(P + 1, 1), b"\xff" * 32]
OFF_CURVE = [_point(2)]


@pytest.mark.parametrize(
    "key", SMALL_ORDER + NOT_CANONICAL + OFF_CURVE + [b"", bytes(31), bytes(33)], ids=lambda key: key.hex()[:8]
)
def test_no_signature_counts_under_an_unsound_key(key: bytes) -> None:
    assert not is_sound_key(key)
    identity_point, zero = _point(1), bytes(32)
    for first in (identity_point, key[:32], zero):
        for message in (b"", b"one", b"another"):
            assert not verify(key, first + zero, message)


def test_what_r1_saves_us_from() -> None:
    """The library alone takes one signature under a small-order key for any message; so R1 has to stand in front."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    loaded = Ed25519PublicKey.from_public_bytes(_point(1))
    for message in (b"one", b"another"):
        loaded.verify(_point(1) + bytes(32), message)  # does not raise
        assert not verify(_point(1), _point(1) + bytes(32), message)


def test_a_point_of_mixed_order_is_refused() -> None:
    """A sound key plus the point of order 2 is on the curve and canonical, but not of prime order."""
    from nacl.bindings import crypto_core_ed25519_add

    mixed = crypto_core_ed25519_add(ALICE.public_key, _point(P - 1))
    assert not is_sound_key(mixed)
    assert not verify(mixed, ALICE.sign(b"m"), b"m")


def test_signatures_are_judged_exactly() -> None:
    signature = ALICE.sign(b"message")
    assert verify(ALICE.public_key, signature, b"message")
    assert signature == ALICE.sign(b"message"), "RFC 8032: no randomness"
    assert not verify(ALICE.public_key, signature, b"another")
    for length in (0, 32, 63, 65):
        assert not verify(ALICE.public_key, (signature + b"\0")[:length], b"message")
    for at in range(64):
        assert not verify(ALICE.public_key, signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :], b"message")


@pytest.mark.parametrize("times", [1, 2, 7, 15])
def test_a_malleated_signature_is_refused(times: int) -> None:
    """S + L would verify too, if nobody looked: then one message would have many signatures."""
    signature = ALICE.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + times * L
    if s < 2**256:
        assert not verify(ALICE.public_key, signature[:32] + s.to_bytes(32, "little"), b"message")


def test_the_identity_point_is_no_commitment() -> None:
    assert not verify(ALICE.public_key, _point(1) + bytes(32), b"message")


def test_rfc_8032_vectors() -> None:
    secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    signer = Identity.from_seed(secret)
    assert signer.public_key.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert signer.sign(b"\x72").hex().startswith("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da")
