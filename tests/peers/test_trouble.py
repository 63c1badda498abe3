"""A node whose own key nobody serves says so itself."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from meshgen.home import ACCOUNT_FILE
from meshgen.ledger.errors import Gap, Unusable
from meshgen.ledger.forks import fork_between
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.peers.trouble import level_of, own_trouble
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import ADD, RETIRE, Key, make_entry, net_id
from tests.peers.test_interest import ALICE, PHONE, Clock

NET = net_id(b"test")


async def test_a_sound_key_has_no_trouble_and_one_with_two_histories_has() -> None:
    async with open_ledger(None, ALICE, NET, now_ms=Clock()) as ledger:
        assert not own_trouble(ledger)
        one, other = (make_entry(ALICE, NET, 9, bytes(32), 1, kind=200, data=(number,)) for number in range(2))
        evidence = fork_between(one, other)
        assert evidence is not None and await ledger.convict(evidence)
        assert "two histories" in own_trouble(ledger) and "account recover" in own_trouble(ledger)


async def test_a_device_that_was_retired_is_told(tmp_path: Path) -> None:
    clock = Clock()
    async with open_ledger(None, ALICE, NET, now_ms=clock) as alices:
        (tmp_path / ACCOUNT_FILE).write_text(alices.account_of(ALICE.public_key).hex())
        async with open_ledger(tmp_path, PHONE, NET, now_ms=clock) as phones:
            await alices.append(Key(ADD, PHONE.public_key, b"", 0, b"", 0))
            await _learn(phones, alices)
            assert not own_trouble(phones)
            head = phones.head()
            await alices.append(Key(RETIRE, PHONE.public_key, b"", head.seq, head.id, 0))
            await _learn(phones, alices)
            assert "retired" in own_trouble(phones)


async def test_a_log_that_can_not_be_written_is_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with open_ledger(None, ALICE, NET, now_ms=Clock()) as ledger:
        assert not ledger.fault()
        monkeypatch.setattr(ledger._log.store, "write", full)
        for _ in range(3):
            with pytest.raises(Unusable, match="disk is full"):
                await ledger.append(Key(ADD, PHONE.public_key, b"", 0, b"", 0))
        assert "free the disk and restart" in own_trouble(ledger) and "works for nobody" in own_trouble(ledger)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert (level_of(Unusable("x")), level_of(Gap(1))) == (logging.DEBUG, logging.INFO)


async def test_what_is_damaged_is_told_of_once_however_often_a_peer_asks_for_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(*_: object) -> None:
        raise Malformed("entry: cut off")

    async with open_ledger(None, ALICE, NET, now_ms=Clock()) as ledger:
        monkeypatch.setattr(ledger._log.store, "wires", torn)
        for _ in range(3):
            with pytest.raises(Unusable, match="is damaged"):
                ledger.entries(ALICE.public_key, 1, 9)
        assert [record.levelname for record in caplog.records] == ["ERROR"]


async def _learn(ledger: Ledger, other: Ledger) -> None:
    author = other.identity.public_key
    await ledger.add(author, other.entries(author, ledger.known(author).seq + 1, 99))
