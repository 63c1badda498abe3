"""What goes out is what lies in the log, and what comes back in is checked to the last signature."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import xml.etree.ElementTree as ET

import pytest

from meshgen.identity import peer_id
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.export import Between, Row, Selection, cell_text, csv_lines, graphml, iso, jsonl, row
from meshgen.ledger.exported import Exported, NoExport, read_export
from meshgen.ledger.fold import Balance, balances, gather
from meshgen.ledger.forks import ForkEvidence, fork_between
from meshgen.protocols.credit import Entry, Genesis, Transfer, Vouch, make_entry
from tests.ledger.people import EXPIRES_MS, NET, OTHER_NET, START_MS, Author, author, claim, receipt, release


def town() -> tuple[Author, Author]:
    """Alice with a paid, a claimed and an open hold, a tip, a vouch and a kind of the future; Bob with his claim."""
    alice, bob = author(1), author(2)
    alice.write(receipt(bob, alice.hold(bob, 30), 20))
    bob.write(claim(alice, alice.hold(bob, 50, 1), 40))
    alice.hold(bob, 5, 2)
    alice.write(Transfer(bob.key, 7, 0, b""))
    alice.write(Vouch(bob.entries[0].id, 1000, EXPIRES_MS, 0))
    seq, prev = alice.head.seq + 1, alice.head.id
    alice.entries.append(make_entry(alice.identity, NET, seq, prev, START_MS, kind=200, data=(1, b"x")))
    return alice, bob


def lines(entries: list[Entry], forks: tuple[ForkEvidence, ...] = (), own: bytes = b"") -> list[bytes]:
    return [line.encode() for line in jsonl(Selection(NET, own), entries, forks)]


def exported() -> list[bytes]:
    alice, bob = town()
    return lines([*alice.entries, *bob.entries], own=alice.key)


def forked() -> tuple[list[Entry], ForkEvidence]:
    alice, bob = author(1), author(2)
    other = alice.copy()
    evidence = fork_between(alice.hold(bob, 1, 1), other.hold(bob, 2, 2))
    assert evidence is not None
    return alice.entries, evidence


def only_fault(report: Exported) -> str:
    (fault,) = report.faults
    return str(fault)


def test_what_is_exported_is_checked_and_folded() -> None:
    alice, bob = town()
    report = read_export(lines([*alice.entries, *bob.entries], own=alice.key))
    assert report.faults == []
    assert (report.story.net, report.own, report.story.entries, report.story.partial) == (NET, alice.key, 10, set())
    assert report.story.balances() == {alice.key: Balance(spent=67, held=15), bob.key: Balance(earned=67)}


def test_it_is_lossless() -> None:
    alice, _ = town()
    header, *rest, end = map(json.loads, lines(alice.entries))
    assert [base64.b64decode(line["wire"]) for line in rest] == alice.wires
    assert (header["meshgen"], header["version"], header["net"], end["entries"]) == ("credit-export", 1, NET.hex(), 8)
    assert [line["kind"] for line in rest] == ["genesis", "hold", "receipt", "hold", "hold", "transfer", "vouch", "kind 200"]
    assert rest[1]["says"]["payee"] == author(2).identity.peer_id and rest[5]["says"]["reason"] == "tip"


def test_forks_go_along() -> None:
    entries, evidence = forked()
    report = read_export(lines(entries, (evidence,)))
    assert (report.faults, report.story.forks) == ([], [evidence])


def test_a_fork_that_proves_nothing() -> None:
    entries, evidence = forked()
    same = (evidence.wires[0], evidence.wires[0])
    report = read_export(lines(entries, (ForkEvidence(evidence.author, evidence.seq, evidence.ids, same),)))
    assert only_fault(report) == "line 2: the evidence of a fork proves nothing: two entries that prove no fork"


@pytest.mark.parametrize("place", [0, 40, 150, -10])
def test_a_flipped_byte_is_pointed_at(place: int) -> None:
    file = exported()
    entry = json.loads(file[3])
    wire = bytearray(base64.b64decode(entry["wire"]))
    wire[place] ^= 1
    entry["wire"] = base64.b64encode(wire).decode()
    file[3] = json.dumps(entry).encode()
    report = read_export(file)
    fault = report.faults[0]
    assert (fault.line, fault.author, fault.seq) == (4, author(1).key, 3)
    assert f"line 4: {peer_id(author(1).key)} entry 3: " in str(fault)
    assert report.story.chains[author(1).key].head.seq == 2 and report.story.entries == 2 + 2


@pytest.mark.parametrize(("name", "value"), [("seq", 9), ("kind", "release"), ("id", "00" * 32), ("time", "1999"), ("says", {})])
def test_words_that_are_not_what_was_signed(name: str, value: object) -> None:
    file = exported()
    file[2] = json.dumps(json.loads(file[2]) | {name: value}).encode()
    assert only_fault(read_export(file)).endswith(f"its {name!r} is not what was signed")


def test_a_removed_entry() -> None:
    file = exported()
    del file[3]
    faults = list(map(str, read_export(file).faults))
    assert "number 4 where 3 belongs" in faults[0]
    assert "it holds 9 entries, where its last line counts 10" in faults[1]


def test_a_broken_rule_with_good_signatures() -> None:
    mallory, bob = author(5), author(2)
    mallory.write(receipt(bob, mallory.hold(bob, 10), 11))
    assert only_fault(read_export(lines(mallory.entries))).endswith("entry 3: a RECEIPT of 11 over a HOLD of 10")


def test_another_mesh() -> None:
    assert "it belongs to another mesh" in only_fault(read_export(lines(author(1, OTHER_NET).entries)))


def test_a_cut_file_and_more_behind_its_end() -> None:
    file = exported()
    assert "cut off" in only_fault(read_export(file[:-1]))
    assert "follows the file's last line" in only_fault(read_export([*file, file[2]]))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "not a line of JSON"),
        (b"[" * 5000, "not a line of JSON"),
        (b"[]", "not an object"),
        (b"{}", "neither an entry, nor a fork, nor the end"),
        (b'{"wire": 7}', "codec"),
        (b'{"wire": "*"}', "not base64"),
        (b'{"wire": "\xc3\xa9"}', "not base64"),
        (b'{"wires": "ab"}', "two entries"),
        (b'{"wires": [1, 2]}', ""),
        (b"\xff\xfe", "not a line of JSON"),
        (b'"' + b"x" * 70_000 + b'"', "more than 65536 bytes"),
    ],
)
def test_bad_lines_are_faults_and_nothing_else(line: bytes, why: str) -> None:
    file = exported()
    report = read_export([*file[:-1], line, file[-1]])
    assert report.faults and report.faults[0].line == len(file)
    assert why == "codec" or why in report.faults[0].why


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"", "no export"),
        (b"ts_ms,author\n", "no export"),
        (b'{"a": 1}', "not an export's"),
        (b'{"meshgen": "credit-export", "version": 2}', "version 2; this meshgen reads 1"),
        (b'{"meshgen": "credit-export", "version": 1, "net": "zz"}', "names no mesh"),
    ],
)
def test_no_export(first: bytes, why: str) -> None:
    with pytest.raises(NoExport, match=why):
        read_export([first])
    with pytest.raises(LedgerError, match="empty"):
        read_export([])


def test_a_part_of_a_chain_is_checked_as_far_as_it_goes() -> None:
    alice, bob = author(1), author(2)
    hold = alice.hold(bob, 30)
    alice.write(receipt(bob, hold, 20))
    alice.write(release(alice.hold(bob, 3, 3), bob))
    tail = alice.entries[2:]
    report = read_export(lines(tail))
    assert (report.faults, report.story.partial, report.story.entries) == ([], {alice.key}, 3)
    assert "does not follow entry 3" in only_fault(read_export(lines([tail[0], tail[2]])))
    forged = alice.copy()
    del forged.entries[2:]
    bad = receipt(bob, hold, 20)
    forged.write(type(bad)(bad.job, bad.hold_id, bad.payee, 30, bad.result, 1, bad.bill_sig))
    assert "bill or voucher" in only_fault(read_export(lines(forged.entries[2:])))


def test_a_pruned_chain_may_lack_what_was_pruned_and_nothing_else() -> None:
    alice, bob = author(1), author(2)
    for number in range(3):
        alice.write(receipt(bob, alice.hold(bob, 30, number), 20))
    kept = [alice.entries[0], *alice.entries[4:]]
    file = [line.encode() for line in jsonl(Selection(NET, b""), kept, pruned={alice.key: 4})]
    report = read_export(file)
    assert (report.faults, report.story.partial, report.story.entries) == ([], {alice.key}, 4)
    kept = [alice.entries[0], *alice.entries[5:]]
    file = [line.encode() for line in jsonl(Selection(NET, b""), kept, pruned={alice.key: 4})]
    assert "number 6 where 2 belongs" in only_fault(read_export(file))
    assert "named by a peer id" in only_fault(read_export([*file[:1], b'{"pruned": "bob", "upto": 1}', *lines([])[1:]]))


def test_other_branches_count_and_break_no_chain() -> None:
    alice, bob = author(1), author(2)
    other = alice.copy()
    evidence = fork_between(alice.hold(bob, 1, 1), other.hold(bob, 2, 2))
    assert evidence is not None
    file = [line.encode() for line in jsonl(Selection(NET, b""), alice.entries, (evidence,), other.entries[1:])]
    report = read_export(file)
    assert (report.faults, report.story.entries) == ([], 3)
    assert report.story.balances()[alice.key].held == 3


def test_what_lies_beside_a_chain_is_of_who_forked() -> None:
    alice, bob = author(1), author(2)
    other = alice.copy()
    alice.hold(bob, 1, 1)
    beside = other.hold(bob, 2, 2)
    file = [line.encode() for line in jsonl(Selection(NET, b""), alice.entries, (), [beside])]
    assert "not proved to have forked" in only_fault(read_export(file))
    evidence = fork_between(alice.entries[1], beside)
    assert evidence is not None
    file = [line.encode() for line in jsonl(Selection(NET, b""), alice.entries, (evidence,), [beside])]
    moved = [file[0], *file[2:-1], file[1], file[-1]]
    assert "stands before all entries" in str(read_export(moved).faults[-1])


def test_beside_a_chain_only_what_may_stand_there_counts() -> None:
    alice, bob = author(1), author(2)
    other = alice.copy()
    alice.hold(bob, 1, 1)
    hold = other.hold(bob, 20, 2)
    evidence = fork_between(alice.entries[1], hold)
    paid, unheard = other.write(receipt(bob, hold, 15)), other.write(Transfer(bob.key, 0, 0, b""))
    assert evidence is not None
    file = [line.encode() for line in jsonl(Selection(NET, b""), alice.entries, (evidence,), [hold, paid, unheard])]
    report = read_export(file)
    assert report.faults == []
    assert report.story.balances() == {alice.key: Balance(spent=15, held=1), bob.key: Balance(earned=15)}


def test_rows_and_csv() -> None:
    alice, bob = town()
    deals = gather([*alice.entries, *bob.entries])
    rows = [row(entry, str(deals[entry.id].state) if entry.id in deals else "") for entry in alice.entries]
    table = list(csv.DictReader(io.StringIO("".join(csv_lines(rows)))))
    assert list(table[0]) == list(Row._fields)
    assert [line["kind"] for line in table][:3] == ["genesis", "hold", "receipt"]
    assert (table[1]["mkudos"], table[1]["state"], table[1]["counterparty"]) == ("30", "paid", bob.identity.peer_id)
    assert table[2]["about"] == table[1]["id"] and table[0]["mkudos"] == ""
    assert table[0]["time"] == "2026-09-10T00:26:40.000Z"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert cell_text(text) == f"'{text}"
    assert (cell_text(-5), cell_text("a=1"), cell_text("")) == ("-5", "a=1", "")


def test_times_beyond_the_calendar() -> None:
    assert iso(2**53 - 1) == str(2**53 - 1)


def test_graphml_is_read_by_others() -> None:
    nx = pytest.importorskip("networkx")
    alice, bob = town()
    sums = balances(gather([*alice.entries, *bob.entries]))
    edges = {(alice.key, bob.key): Between(owed=60, claimed=40, deals=3)}
    text = "".join(graphml(sums, {alice.key: 'A <"&> label'}, [bob.key], edges))
    ET.fromstring(text)
    graph = nx.parse_graphml(text)
    a, b = alice.identity.peer_id, bob.identity.peer_id
    assert graph.nodes[a]["label"] == 'A <"&> label' and graph.nodes[a]["spent"] == 60
    assert graph.nodes[b]["forked"] is True and graph.nodes[a]["forked"] is False
    assert graph.edges[a, b] == {"owed": 60, "claimed": 40, "contested": 0, "given": 0, "deals": 3}


def test_a_table_holds_no_free_text() -> None:
    person = Author(author(1).identity)
    person.write(Genesis(b"", hashlib.sha256(b"n").digest(), '=HYPERLINK("x")'))
    assert "HYPERLINK" not in "".join(csv_lines([row(person.entries[0], "")]))
