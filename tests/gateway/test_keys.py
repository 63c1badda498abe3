"""The owner's key and shared ones: what they allow, what is kept of them, and how."""

from __future__ import annotations

import json
import stat
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from meshgen.gateway.callers import ANONYMOUS, ANONYMOUS_KEY, OWNER, KeyLimit
from meshgen.gateway.keys import DAY_MS, KeyRing, KeyRingError, load_or_make_key
from meshgen.home import KEY_FILE, SHARED_KEYS_FILE


class Clock:
    now = 1_780_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(tmp_path: Path, clock: Clock) -> KeyRing:
    return KeyRing(tmp_path, now_ms=clock)


def rc_of(ring: KeyRing, key: str, **asked: int) -> str:
    caller = ring.caller(key, local=False)
    assert caller is not None
    try:
        ring.check(caller, **asked)
    except KeyLimit as limit:
        assert str(limit).startswith("This shared key")
        return limit.rc
    return ""


def test_the_owners_key_lasts_and_is_the_owners_alone(tmp_path: Path, ring: KeyRing) -> None:
    assert load_or_make_key(tmp_path) == ring.owner_key == KeyRing(tmp_path).owner_key
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert ring.caller(ring.owner_key, local=False) == OWNER
    ring.check(OWNER, pixels=10**9, mkudos=10**15)
    for wrong in ("", "x", ring.owner_key[:-1], ring.owner_key + "x", ring.owner_key.upper(), "ключ", "é" * 500):
        assert ring.caller(wrong, local=True) is None


def test_who_may_be_anonymous(tmp_path: Path, ring: KeyRing) -> None:
    assert ring.caller(ANONYMOUS_KEY, local=True) == ANONYMOUS
    assert ring.caller(ANONYMOUS_KEY, local=False) is None
    assert KeyRing(tmp_path, anonymous=True).caller(ANONYMOUS_KEY, local=False) == ANONYMOUS


def test_limits_of_a_shared_key(ring: KeyRing) -> None:
    key = ring.share(kudos=10, max_image_pixels=512 * 512, max_image_steps=30, max_text_tokens=80)
    uuid.UUID(key.id)
    assert rc_of(ring, key.id, pixels=512 * 512, steps=30, tokens=80, mkudos=10_000) == ""
    for asked in ({"pixels": 512 * 513}, {"steps": 31}, {"tokens": 81}):
        assert rc_of(ring, key.id, **asked) == "SharedKeyInvalid"
    assert rc_of(ring, key.id, mkudos=10_001) == "SharedKeyInsufficientKudos"
    free = ring.share()
    assert rc_of(ring, free.id, pixels=10**9, steps=500, tokens=4096, mkudos=10**12) == ""


def test_what_was_spent_counts_and_outlives_a_restart(tmp_path: Path, ring: KeyRing) -> None:
    key = ring.share(name="class", kudos=10)
    ring.charge(key.caller, 9_999)
    ring.charge(OWNER, 5)
    ring.charge(ANONYMOUS, 5)
    again = KeyRing(tmp_path)
    assert again.find(key.id) == ring.find(key.id) and again.shared()[0].used_mkudos == 9_999
    assert rc_of(again, key.id, mkudos=2) == "SharedKeyInsufficientKudos"
    again.charge(key.caller, 1)
    assert rc_of(again, key.id) == "SharedKeyEmpty"


def test_what_can_not_be_written_down_counts_all_the_same(tmp_path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ring.share(kudos=10)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("meshgen.gateway.keys.write_private", full)
    with pytest.raises(KeyRingError):
        ring.charge(key.caller, 10_000)
    assert rc_of(ring, key.id) == "SharedKeyEmpty" and ring.left(key.caller) == 0
    with pytest.raises(KeyRingError):
        ring.share(kudos=10)
    assert ring.left(OWNER) is None and len(ring.shared()) == 1


def test_what_is_under_way_counts_too(ring: KeyRing) -> None:
    key = ring.share(kudos=10)
    ring.pending = lambda caller: 6_000 if caller == key.caller else 0
    assert rc_of(ring, key.id, mkudos=4_000) == ""
    assert rc_of(ring, key.id, mkudos=4_001) == "SharedKeyInsufficientKudos"


def test_a_key_expires(ring: KeyRing, clock: Clock) -> None:
    key = ring.share(expires_ms=ring.expiry(2))
    clock.now += 2 * DAY_MS - 1
    assert rc_of(ring, key.id) == ""
    clock.now += 1
    assert rc_of(ring, key.id) == "SharedKeyExpired"
    ring.change(key.id, expires_ms=ring.expiry(-1))
    assert rc_of(ring, key.id) == ""


def test_a_key_that_is_removed_opens_nothing(tmp_path: Path, ring: KeyRing) -> None:
    key = ring.share(name="gone")
    caller = key.caller
    ring.remove(key.id)
    assert ring.caller(key.id, local=True) is None and KeyRing(tmp_path).caller(key.id, local=True) is None
    with pytest.raises(KeyLimit):
        ring.check(caller)
    ring.charge(caller, 5)
    for change in (lambda: ring.remove(key.id), lambda: ring.change(key.id, kudos=1)):
        with pytest.raises(KeyError):
            change()


def test_a_callers_id_gives_no_key_away(ring: KeyRing) -> None:
    key = ring.share(name="x")
    assert key.id not in repr(key.caller) and ring.caller(key.caller.key_id, local=True) is None


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    key = ring.share(kudos=1000)
    threads = [threading.Thread(target=lambda: [ring.charge(key.caller, 7) for _ in range(10)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert KeyRing(tmp_path).shared()[0].used_mkudos == 7 * 80
    assert not list(tmp_path.glob("*.new"))


def test_what_can_not_be_written_does_not_count(tmp_path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ring.share(kudos=10)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("meshgen.gateway.keys.write_private", full)
    with pytest.raises(KeyRingError, match=r"keys\.json can't be written: No space"):
        ring.share(name="another")
    assert [one.id for one in ring.shared()] == [key.id]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"keys": 1}', '{"keys": [{"id": 1}]}', '{"keys": [{"more": 1}]}', '{"keys": [7]}']
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / SHARED_KEYS_FILE).write_text(text)
    with pytest.raises(KeyRingError, match=r"keys\.json is damaged"):
        KeyRing(tmp_path)


def test_a_file_with_a_field_of_another_type_is_damaged(tmp_path: Path, ring: KeyRing) -> None:
    ring.share(name="x", kudos=5)
    found = json.loads((tmp_path / SHARED_KEYS_FILE).read_text())
    found["keys"][0]["kudos"] = "5"
    (tmp_path / SHARED_KEYS_FILE).write_text(json.dumps(found))
    with pytest.raises(KeyRingError):
        KeyRing(tmp_path)


@pytest.mark.parametrize("text", ["", "short", "x" * 300, "two words and more", "with/slash/and/more", "\xff\xfe"])
def test_an_own_key_that_is_none_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(KeyRingError, match=r"api\.key") as caught:
        KeyRing(tmp_path)
    assert not text or text not in str(caught.value)
