"""Every kind of entry can be shown to a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshgen.identity import peer_id
from meshgen.ledger.export import entry_line, row
from meshgen.ledger.words import KIND_NAMES, facts, fields, kind_name, kind_number
from meshgen.protocols.credit import (
    ADD,
    CONTENTS,
    RECOVER,
    RETIRE,
    ROTATE,
    Advisory,
    CharterEntry,
    Checkpoint,
    Content,
    Entry,
    Key,
    Transfer,
    Vouch,
    decode_entry,
    make_entry,
)
from tests.ledger.people import EXPIRES_MS, NET, START_MS, author

CHAINS = Path(__file__).parent.parent.parent / "protocols" / "credit" / "chains"
ALICE, BOB = author(1), author(2)


def entry(content: Content) -> Entry:
    return ALICE.draft(content)


def known_entries() -> list[Entry]:
    """Of all valid chains that the specification shows."""
    found = [json.loads(path.read_text()) for path in sorted(CHAINS.glob("valid/*.json"))]
    return [decode_entry(bytes.fromhex(wire), verify=False) for chain in found for wire in chain["entries"]]


def test_every_kind_has_words_and_plain_fields() -> None:
    entries = known_entries()
    assert {one.kind for one in entries} >= set(CONTENTS), "the specification's chains show every kind"
    for one in entries:
        known = facts(one)
        assert known.kind == kind_name(one.kind) and known.words.isascii() and known.words.isprintable()
        assert json.loads(json.dumps(entry_line(one)))["says"] == fields(one)
        assert row(one, "").kind == known.kind


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Transfer(BOB.key, 5, 0, b""), "gives it (tip) to"),
        (Transfer(BOB.key, 5, 77, b""), "gives it (77) to"),
        (Vouch(BOB.entries[0].id, 5, EXPIRES_MS, 0), "answers up to this for account"),
        (Vouch(BOB.entries[0].id, 5, EXPIRES_MS, 1), "no longer answers for account"),
        (Key(ADD, BOB.key, b"", 0, b"", 0), "lets this device into its account"),
        (Key(ADD, BOB.key, b"", 0, b"", 9), "lets this device into its account, to owe at most this"),
        (Key(RETIRE, BOB.key, b"", 3, bytes(32), 0), "retires this device, standing by its entries up to 3"),
        (Key(ROTATE, BOB.key, bytes(32), 0, b"", 0), "closes this log; the account goes on with"),
        (Key(RECOVER, BOB.key, b"", 3, bytes(32), 0), "takes over from the lost key, standing by its entries up to 3"),
        (Key(9, BOB.key, b"", 0, b"", 0), "key operation 9"),
        (Advisory("spam", 0, 0, bytes(32), "bob", 2, EXPIRES_MS, b""), "advises on list 'spam': avoid account (bob)"),
        (Advisory("spam", 0, 9, bytes(32), "", 9, EXPIRES_MS, b""), "advises on list 'spam': 9 9"),
        (Advisory("spam", 1, 0, bytes(32), "", 2, EXPIRES_MS, b""), "takes back its advice on list 'spam'"),
        (Checkpoint(1, bytes(32), 1, 2, 3, bytes(32), ()), "sums up entries 1 to 1, with 0 witnesses"),
        (CharterEntry(bytes(32), 0, b""), "signed version 0 of the charter"),
    ],
)
def test_words(content: Content, words: str) -> None:
    assert facts(entry(content)).words == words


def test_what_stands_in_numbers_is_named() -> None:
    assert fields(entry(Transfer(BOB.key, 5, 1, b""))) == {
        "payee": peer_id(BOB.key),
        "amount": 5,
        "reason": "share",
        "ref": "",
    }
    assert fields(entry(Key(ADD, BOB.key, b"", 0, b"", 7)))["key"] == peer_id(BOB.key)


def test_kinds_of_the_future() -> None:
    strange = make_entry(ALICE.identity, NET, 2, ALICE.head.id, START_MS, kind=200, data=(1,))
    assert (facts(strange).kind, fields(strange)) == ("kind 200", {})
    assert "not understood" in facts(strange).words


def test_names_and_numbers_of_kinds() -> None:
    for number, name in KIND_NAMES.items():
        assert kind_number(name) == kind_number(f" {name.upper()} ") == kind_number(str(number)) == number
    assert kind_number("kind 200") == 200
    for wrong in ("", "256", "-1", "hol", "x" * 99, "٣"):
        with pytest.raises(ValueError, match="there are genesis, hold"):
            kind_number(wrong)
