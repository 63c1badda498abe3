"""The book of acquaintances: who is kept, who goes, and what becomes of it on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshgen.net.port import PeerId
from meshgen.peers import acquaintances_file
from meshgen.peers.acquaintances import HALF_LIFE_MS, MOST, Acquaintance, Acquaintances
from meshgen.peers.acquaintances_file import PEERS_FILE, PeersFile, parse, write
from meshgen.protocols.advert import MAX_ADDRESS_BYTES, Advert
from tests.conformance.samples import SAMPLES

NOW_MS = 1_789_000_000_000
OWN = PeerId("own")


class Book:
    """With a clock that the test sets."""

    def __init__(self, *known: Acquaintance) -> None:
        self.now_ms = NOW_MS
        self.known = Acquaintances(OWN, lambda: self.now_ms, known)

    def hear_of(self, name: str, *addresses: str, roles: tuple[str, ...] = ()) -> None:
        advert = SAMPLES[Advert]
        assert isinstance(advert, Advert)
        self.known.heard_of(PeerId(name), replace(advert, addresses=addresses, roles=roles))

    def of(self, name: str) -> Acquaintance:
        found = self.known.get(PeerId(name))
        assert found is not None
        return found


def met(number: int, **fields: Any) -> Acquaintance:
    given = {"seen_ms": NOW_MS, "answered": 1, "merit": 1.0, "judged_ms": NOW_MS, **fields}
    return Acquaintance(PeerId(f"p{number}"), (f"/memory/p{number}",), **given)


def test_who_answers_rises_and_who_fails_sinks_and_both_fade() -> None:
    book = Book()
    for name in ("good", "bad"):
        book.hear_of(name, "/a")
        book.known.answered(PeerId(name))
    for _ in range(3):
        book.known.answered(PeerId("good"))
        book.known.failed(PeerId("bad"))
    good, bad = book.of("good"), book.of("bad")
    assert (good.worth(NOW_MS), bad.worth(NOW_MS)) == (4, -2)
    assert (good.answered, bad.answered, bad.failed) == (4, 1, 3)
    assert bad.worth(NOW_MS + HALF_LIFE_MS) == -1
    assert abs(bad.worth(NOW_MS + 20 * HALF_LIFE_MS)) < 1e-3
    book.hear_of("bad", "/a", roles=("hub",))
    assert book.of("bad").worth(NOW_MS) == 0


def test_nobody_sinks_or_rises_beyond_forgiveness() -> None:
    book = Book(met(1), met(2))
    for _ in range(100):
        book.known.answered(PeerId("p1"))
        book.known.failed(PeerId("p2"))
    assert (book.of("p1").merit, book.of("p2").merit) == (10, -5)


def test_the_address_that_worked_comes_first_and_stays_there() -> None:
    book = Book()
    book.hear_of("p", "/a", "/b", "/c")
    book.known.answered(PeerId("p"), "/b")
    assert book.of("p").addresses == ("/b", "/a", "/c")
    book.hear_of("p", "/c", "/b")
    assert book.of("p").addresses == ("/b", "/c")
    book.hear_of("p", "/d")
    assert book.of("p").addresses == ("/d",), "it has moved"


def test_hearsay_that_fails_is_forgotten() -> None:
    book = Book()
    book.hear_of("told", "/a")
    book.known.failed(PeerId("told"))
    assert len(book.known) == 0


def test_nobody_without_an_address_is_kept_nor_is_oneself() -> None:
    book = Book()
    book.known.answered(PeerId("inbound"))
    book.hear_of("silent")
    book.hear_of(OWN, "/a")
    assert len(book.known) == 0


def test_a_full_book_takes_no_hearsay_and_the_least_makes_room_for_the_met() -> None:
    book = Book(*(met(number, merit=2.0) for number in range(MOST - 2)), met(900, merit=-3.0), met(901, answered=0))
    for number in range(1000):
        book.hear_of(f"flood{number}", "/x")
    assert len(book.known) == MOST
    assert book.known.get(PeerId("flood0")) is None
    book.known.answered(PeerId("new1"), "/new1")
    assert book.known.get(PeerId("p901")) is None, "who was only told of goes first"
    book.known.answered(PeerId("new2"), "/new2")
    assert book.known.get(PeerId("p900")) is None, "then who fared worst"
    assert len(book.known) == MOST


def test_what_is_new_of_the_met_is_worth_a_write() -> None:
    book = Book(met(1))
    book.hear_of("told", "/a")
    book.hear_of("p1", "/memory/p1")
    assert book.known.changes == 0
    book.known.answered(PeerId("told"))
    book.hear_of("p1", "/elsewhere")
    assert book.known.changes == 2


# -- on disk


async def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    known = [met(number, roles=("hub",), failed=number) for number in range(MOST)]
    await PeersFile(tmp_path).save(known)
    assert PeersFile(tmp_path).load() == known
    assert (tmp_path / PEERS_FILE).stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / f".{PEERS_FILE}.new").exists()


def test_no_file_is_no_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert PeersFile(tmp_path).load() == []
    assert not caplog.records


ROW = json.loads(write([met(1)]))["peers"][0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 2, "peers": []}',
        '{"version": 1}',
        '{"version": 1, "peers": [7]}',
        '{"version": 1, "peers": [{}]}',
        "[" * 100_000,
        *(
            json.dumps({"version": 1, "peers": [{**ROW, **bad}]})
            for bad in (
                {"peer": 7},
                {"peer": ""},
                {"addresses": ["x" * (MAX_ADDRESS_BYTES + 1)]},
                {"addresses": [7]},
                {"addresses": ["/a"] * 9},
                {"addresses": None},
                {"roles": ["king"]},
                {"merit": 1e9},
                {"merit": float("nan")},
                {"merit": "1"},
                {"seen_ms": -1},
                {"answered": 2**53},
                {"failed": 1.5},
                {"colour": "red"},
            )
        ),
    ],
    ids=lambda text: text[-60:],
)
def test_a_damaged_book_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    (tmp_path / PEERS_FILE).write_text(text)
    assert PeersFile(tmp_path).load() == []
    assert "can't be read" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [f"{PEERS_FILE}.damaged"]


def test_a_book_beyond_all_measure_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquaintances_file, "MAX_FILE_BYTES", 100)
    (tmp_path / PEERS_FILE).write_text(write([met(1)]))
    assert PeersFile(tmp_path).load() == []


def test_a_book_with_more_than_it_may_hold_is_cut() -> None:
    many = json.dumps({"version": 1, "peers": [{**ROW, "peer": f"p{number}"} for number in range(MOST + 9)]})
    assert len(parse(many)) == MOST


async def test_a_disk_that_takes_nothing_leaves_the_old_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = PeersFile(tmp_path)
    await shelf.save([met(1)])

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        await shelf.save([met(2)])
    assert shelf.load() == [met(1)]
