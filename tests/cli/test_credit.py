"""Credit on the command line: what is shown, what is asked before it is said, and files that go out and come back."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
from click import BadParameter
from click.testing import Result

from meshgen.cli import exporting
from meshgen.cli.credit_files import _lines
from meshgen.cli.credit_text import explanation
from meshgen.cli.credit_words import parse_kudos
from meshgen.cli.progress import Progress
from meshgen.cli.since import parse_since, parse_span
from meshgen.cli.whom import People
from meshgen.identity import Identity, load_or_create
from meshgen.ledger.exported import read_export
from meshgen.ledger.fold import NOTHING
from meshgen.ledger.forks import fork_between
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.verify import verify_home
from meshgen.pictures import with_text
from meshgen.protocols.credit import Bill, Hold, Receipt, Transfer, net_id, result_commitment
from tests.cli.conftest import Running
from tests.gateway.fake_node import ALICE, BOB, HOLD_ID, RECEIPT_ID
from tests.gateway.test_credit import Town
from tests.ledger.people import author
from tests.test_pictures import png

Cli = Callable[..., Result]
NET = net_id(b"test")
NOW_MS = 1_789_000_000_000
CAROL = Identity.from_seed(bytes(range(2, 34)))
SALT = bytes(range(16))


# -- with a node


def test_a_balance(meshgen: Cli, running: Running) -> None:
    text = meshgen("credit", "balance").output
    assert "Credit of this node" in text and "3.500 kudos" in text and "--open earned|spent|held" in text
    assert json.loads(meshgen("credit", "balance", "--json").stdout)["held_mkudos"] == 250
    text = meshgen("credit", "balance", "--peer", "bob").output
    assert f"bob ..{BOB.peer_id[-6:]}" in text and "No entry of that peer" in text
    failed = meshgen("credit", "balance", "--peer", "nobody", code=1).stderr
    assert "'nobody' is not a peer id, and no peer known here has that alias" in failed


def test_a_figure_opens_page_by_page(meshgen: Cli, running: Running) -> None:
    text = meshgen("credit", "balance", "--open", "earned").output
    assert "5.000 kudos in 50 deals" in text and "page 1 of 3; go on with --page 2" in text
    assert "2026-09-10 00:26:40" in text and f"{HOLD_ID[:12]} {RECEIPT_ID[:12]}" in text
    assert "--page" not in meshgen("credit", "balance", "--open", "earned", "--page", "3").output
    assert "no page 9" in meshgen("credit", "balance", "--open", "earned", "--page", "9").output
    assert len(json.loads(meshgen("credit", "balance", "--open", "earned", "--json").stdout)["items"]) == 50
    assert meshgen("credit", "balance", "--open", "held").output == "held: 0.000 kudos in 0 deals\n"
    meshgen("credit", "balance", "--open", "everything", code=2)


def test_the_log_is_asked_for_as_it_was_meant(meshgen: Cli, running: Running) -> None:
    asked = running.node.credit.asked
    assert "were asked for now" in meshgen("credit", "log", "--peer", "bob").output
    assert (asked[-1].newest, asked[-1].since, asked[-1].limit) == (True, 1, 100)
    meshgen("credit", "log", "--since", "17", "--kind", "hold,Receipt,kind 200", "--limit", "5")
    assert (asked[-1].newest, asked[-1].since, asked[-1].kinds, asked[-1].limit) == (False, 17, {1, 2, 200}, 5)
    meshgen("credit", "log", "--since", "2026-09-10")
    assert (asked[-1].since, asked[-1].since_ms) == (1, 1_788_998_400_000)
    for words in (("--since", "0"), ("--since", "yesterday"), ("--limit", "1001")):
        meshgen("credit", "log", *words, code=2)
    assert "no kind of entry; there are genesis, hold" in meshgen("credit", "log", "--kind", "nope", code=1).stderr


def test_a_tip_is_asked_for_once_more(meshgen: Cli, running: Running) -> None:
    said = running.node.credit.said
    refused = meshgen("credit", "tip", "bob", "1.5", code=130, stdin="n\n")
    assert f"Give 1.500 kudos to bob ({BOB.peer_id})?" in refused.stderr and "nothing was written" in refused.stderr
    assert said == []
    assert "more than this node has to give (3.250 kudos free)" in meshgen("credit", "tip", "bob", "4", stdin="y\n").stderr
    meshgen("credit", "tip", BOB.peer_id, "0.5", "--reason", "share", "--receipt", RECEIPT_ID, "--yes")
    assert said == [("tip", BOB.public_key, 4000, "tip", b""), ("tip", BOB.public_key, 500, "share", bytes.fromhex(RECEIPT_ID))]
    asked = meshgen("credit", "tip", "bob", "1", "--json", stdin="y\n")
    assert json.loads(asked.stdout)["entry"]["id"] == "ef" * 32


@pytest.mark.parametrize("words", ["credit tip bob 1", "peers advise bob avoid", "mesh expel bob"])
def test_where_nobody_can_be_asked_nothing_is_done(meshgen: Cli, running: Running, words: str) -> None:
    failed = meshgen(*words.split(), code=1)
    assert "there is no terminal to ask at" in failed.stderr and "--yes" in failed.stderr and running.node.credit.said == []
    assert json.loads(meshgen(*words.split(), "--json", code=1).stdout)["error"]["code"] == "no_terminal"


def test_what_no_tip_may_be(meshgen: Cli, running: Running) -> None:
    assert "must be a whole peer id" in meshgen("credit", "tip", "bob", "1", "--yes", code=1).stderr
    assert "that is this node itself" in meshgen("credit", "tip", ALICE.peer_id, "1", "--yes", code=1).stderr
    for amount in ("0", "-1", "1.2345", "many", "1e3", "9999999999999", "٣"):
        meshgen("credit", "tip", "bob", amount, code=2)
    meshgen("credit", "tip", "bob", "1", "--receipt", "abc", code=2)
    running.node.credit.refusal = "the own chain has forked"
    assert "the own chain has forked" in meshgen("credit", "tip", BOB.peer_id, "1", "--yes", code=1).stderr
    assert running.node.credit.said == []


def test_vouches(meshgen: Cli, running: Running) -> None:
    assert "until 2026-09-12 00:26:40" in meshgen("credit", "vouch", "bob", "100", "--for", "2d", stdin="y\n").output
    meshgen("credit", "unvouch", BOB.peer_id, "--yes")
    day_ms = 24 * 3600 * 1000
    assert running.node.credit.said == [("vouch", BOB.public_key, 100_000, 2 * day_ms), ("vouch", BOB.public_key, 0, 30 * day_ms)]
    for span in ("401d", "forever", "0d"):
        meshgen("credit", "vouch", "bob", "1", "--for", span, code=2)


def test_advice(meshgen: Cli, running: Running) -> None:
    said = meshgen("credit", "advise", "bob", "avoid", "--label", "sends noise", "--for", "2d", stdin="y\n").output
    assert "avoid" in said and "until 2026-09-12" in said
    meshgen("credit", "advise", "ab" * 32, "trust", "--withdraw", "--yes")
    words = [word for _, word, *_ in running.node.credit.said]
    assert [(word.is_model, word.subject, word.label) for word in words] == [
        (False, BOB.public_key, "sends noise"),
        (True, bytes.fromhex("ab" * 32), ""),
    ]
    meshgen("credit", "advise", "bob", "burn", code=2)
    meshgen("credit", "advise", "bob", "avoid", "--label", "x" * 65, "--yes", code=2)


def test_people_are_found_by_parts_of_their_ids(meshgen: Cli, running: Running) -> None:
    for name in (BOB.peer_id, BOB.peer_id[-6:], f"..{BOB.peer_id[-6:]}", "bob"):
        assert BOB.peer_id[-6:] in meshgen("credit", "balance", "--peer", name).output
    running.node.peers = lambda: [{"peer_id": key.peer_id, "alias": "bob"} for key in (BOB, CAROL)]  # type: ignore[method-assign]
    assert "2 peers are called 'bob'" in meshgen("credit", "balance", "--peer", "bob", code=1).stderr


async def test_an_explanation_in_words(running: Running) -> None:
    """Over real ledgers: one path of two hops, some of it used."""
    from meshgen.cli.client import Api
    from meshgen.peers.accounting import Accounting

    town = Town()
    async with (
        open_ledger(None, ALICE, NET, now_ms=town.clock) as alice,
        open_ledger(None, BOB, NET, now_ms=town.clock) as bob,
        open_ledger(None, CAROL, NET, now_ms=town.clock) as carol,
    ):
        town.ledgers = {ledger.identity.public_key: ledger for ledger in (alice, bob, carol)}
        await town.pay(ALICE, CAROL, 9000, 9000)
        await town.pay(CAROL, BOB, 6000, 6000)
        await town.pay(BOB, ALICE, 500, 500)
        await town.meet()
        found = Accounting(alice, town.clock).explain(BOB.public_key)
    people = await trio.to_thread.run_sync(People, Api.of(running.home))
    text = explanation(found, people)
    assert "served here before those with less credit (step 13, of 4.096 to 8.191 kudos" in text
    assert "credit that reaches it from this node: 5.500 kudos, by 1 path" in text
    assert f"this node -> ..{CAROL.peer_id[-6:]}: owes 9.000 for work, 0.500 of it used up here" in text
    assert f"..{CAROL.peer_id[-6:]} -> bob" in text and "used up by what this node did for it: 0.500 kudos" in text
    forked = found | {"served": False, "why": "its chain has forked", "fork": {"seq": 7, "entries": [HOLD_ID, RECEIPT_ID]}}
    text = explanation(forked | {"claimed_mkudos": 5, "open_holds": 2, "devices": ["a", "b"]}, people)
    assert "NOT SERVED here: its chain has forked" in text and "two different entries 7" in text
    assert "no receipt for 0.005 kudos" in text and "2 holds" in text and "one of 2 devices" in text


# -- files


@pytest.fixture
def kept(home: Path) -> Path:
    """A home with one paid deal over the picture ``PICTURE`` and a tip."""

    async def run() -> None:
        me = load_or_create(home)
        async with (
            open_ledger(home, me, NET, now_ms=lambda: NOW_MS, label="=cmd()") as mine,
            open_ledger(None, BOB, NET, now_ms=lambda: NOW_MS) as his,
        ):
            hold = await mine.hold(bytes(32), BOB.public_key, 900, NOW_MS + 1000, his.head())
            terms = Hold.from_entry(hold)
            result = result_commitment([(SALT, hashlib.sha256(PICTURE).digest())])
            bill = Bill(NET, terms.job, hold.id, hold.author, terms.payee, 700, result).sign(BOB)
            await mine.append(Receipt(terms.job, hold.id, terms.payee, 700, result, 1, bill.sig))
            await mine.append(Transfer(BOB.public_key, 50, 0, b""))
            await mine.add(BOB.public_key, his.entries(BOB.public_key, 1, 9))

    trio.run(run)
    return home


PICTURE = png(8, 8)


def test_verify_reads_the_home_itself(meshgen: Cli, home: Path, kept: Path) -> None:
    assert "all holds: 2 logs with 5 signed entries" in meshgen("credit", "verify").output
    found = json.loads(meshgen("credit", "verify", "--json").stdout)
    assert (found["ok"], found["peer"], found["total_mkudos"]) == (True, load_or_create(home).peer_id, 0)
    assert "all holds" in meshgen("credit", "verify", str(kept)).output
    assert "all holds" in meshgen("credit", "verify", str(kept / "ledger.db")).output


def test_verify_without_a_log(meshgen: Cli, tmp_path: Path) -> None:
    assert "a log begins when the node runs for the first time" in meshgen("credit", "verify", code=4).stderr
    (tmp_path / "picture.png").write_bytes(PICTURE)
    assert "it is no export" in meshgen("credit", "verify", "picture.png", code=1).stderr
    assert "can't be read: No such file" in meshgen("credit", "verify", "nothing.jsonl", code=1).stderr
    (tmp_path / "x.db").write_bytes(b"SQLite format 3\0" + bytes(100))
    assert "can't be used" in meshgen("credit", "verify", "x.db", code=4).stderr


def test_an_export_goes_out_and_is_checked(meshgen: Cli, kept: Path, tmp_path: Path) -> None:
    assert "log.jsonl: 5 entries" in meshgen("credit", "export", "--out", "log.jsonl").output
    assert "all holds: 2 logs with 5 signed entries" in meshgen("credit", "verify", "log.jsonl").output
    lines = (tmp_path / "log.jsonl").read_bytes().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if b'"receipt"' in line)
    entry = json.loads(lines[place])
    wire = bytearray(base64.b64decode(entry["wire"]))
    wire[-1] ^= 1
    lines[place] = json.dumps(entry | {"wire": base64.b64encode(wire).decode()}).encode() + b"\n"
    (tmp_path / "log.jsonl").write_bytes(b"".join(lines))
    failed = meshgen("credit", "verify", "log.jsonl", code=1).output
    assert f"fault: line {place + 1}: {entry['author']} entry 3: entry: the signature is not its author's" in failed
    found = json.loads(meshgen("credit", "verify", "log.jsonl", "--json", code=1).stdout)
    assert found["at"][0] == {
        "line": place + 1,
        "peer": entry["author"],
        "seq": 3,
        "why": "entry: the signature is not its author's",
    }


def test_a_damaged_home_names_the_entry(meshgen: Cli, kept: Path) -> None:
    with closing(sqlite3.connect(kept / "ledger.db")) as file, file:
        assert file.execute("UPDATE entry SET sig = zeroblob(64) WHERE seq = 3").rowcount == 1
    failed = meshgen("credit", "verify", code=1).output
    assert f"fault: {load_or_create(kept).peer_id} entry 3: entry: the signature is not its author's" in failed


def test_an_export_with_a_fork_comes_to_what_the_home_does(meshgen: Cli, kept: Path) -> None:
    mallory, bob = author(5, NET), author(6, NET)
    other = mallory.copy()
    mallory.hold(bob, 100, 1)
    beside = other.hold(bob, 70, 2)
    evidence = fork_between(mallory.entries[1], beside)
    assert evidence is not None

    async def run() -> None:
        async with open_ledger(kept, load_or_create(kept), NET, now_ms=lambda: NOW_MS) as ledger:
            await ledger.add(mallory.key, mallory.wires)
            await ledger.convict(evidence)
            await ledger.add_branch(mallory.key, [beside.wire])

    trio.run(run)
    home = verify_home(kept)
    assert home.ok, home.faults
    meshgen("credit", "export", "--out", "log.jsonl")
    assert "1 peer caught with two histories" in meshgen("credit", "verify", "log.jsonl").output
    report = read_export(Path("log.jsonl").read_bytes().splitlines())
    told = report.story.balances()
    assert {key: told.get(key, NOTHING) for key in home.balances} == home.balances and set(told) <= {*home.balances, bob.key}
    assert report.story.balances()[mallory.key].held == 170
    rows = list(csv.DictReader(meshgen("credit", "export", "--format", "csv").output.splitlines()))
    assert {row["state"] for row in rows if row["kind"] == "hold"} == {"paid", "open"}


def test_exports_of_a_part(meshgen: Cli, kept: Path) -> None:
    me = load_or_create(kept).peer_id
    assert "1 entry" in meshgen("credit", "export", "--peer", BOB.peer_id, "--out", "bob.jsonl").output
    assert "2 entries" in meshgen("credit", "export", "--peer", me, "--since", "3", "--out", "late.jsonl").output
    assert "1 log of them without the first entries" in meshgen("credit", "verify", "late.jsonl").output
    assert "0 entries" in meshgen("credit", "export", "--since", "2099-01-01", "--out", "none.csv", "--format", "csv").output
    assert "no entry of that peer is kept" in meshgen("credit", "export", "--peer", CAROL.peer_id, code=1).stderr
    meshgen("credit", "export", "--peer", "bob", code=2)
    meshgen("credit", "export", "--format", "graphml", "--since", "3", code=2)


def test_a_table_for_spreadsheets(meshgen: Cli, kept: Path) -> None:
    rows = list(csv.DictReader(meshgen("credit", "export", "--format", "csv").output.splitlines()))
    assert [(row["kind"], row["mkudos"], row["state"]) for row in rows if row["author"] != BOB.peer_id] == [
        ("genesis", "", ""),
        ("hold", "900", "paid"),
        ("receipt", "700", "paid"),
        ("transfer", "50", ""),
    ]


def test_a_table_for_data_frames(meshgen: Cli, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(exporting, "PARQUET_ROWS", 2)
    meshgen("credit", "export", "--format", "parquet", "--out", "log.parquet")
    table = parquet.read_table("log.parquet").to_pylist()
    assert sorted(row["kind"] for row in table) == ["genesis", "genesis", "hold", "receipt", "transfer"]
    assert [row["mkudos"] for row in table if row["kind"] == "genesis"] == [None, None]


def test_parquet_says_what_it_needs(meshgen: Cli, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    failed = meshgen("credit", "export", "--format", "parquet", "--out", "x.parquet", code=1).stderr
    assert "meshgen-node[research]" in failed and not Path("x.parquet").exists()


def test_a_graph(meshgen: Cli, kept: Path) -> None:
    nx = pytest.importorskip("networkx")
    me = load_or_create(kept).peer_id
    graph = nx.parse_graphml(meshgen("credit", "export", "--format", "graphml").output)
    assert graph.edges[me, BOB.peer_id] == {"owed": 700, "claimed": 0, "contested": 0, "given": 50, "deals": 1}
    assert (graph.nodes[me]["spent"], graph.nodes[BOB.peer_id]["net"], graph.nodes[me]["label"]) == (750, 750, "=cmd()")


def test_no_file_is_lost_or_left_half(meshgen: Cli, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("log.csv").write_text("precious")
    assert "exists already" in meshgen("credit", "export", "--format", "csv", "--out", "log.csv", code=1).stderr
    assert Path("log.csv").read_text() == "precious"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "_write", full)
        failed = meshgen("credit", "export", "--format", "csv", "--out", "log.csv", "--force", code=1).stderr
    assert "No space left" in failed and Path("log.csv").read_text() == "precious"
    assert "can't be written" in meshgen("credit", "export", "--out", "no/such/place", code=1).stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_stdout_is_for_one_thing(meshgen: Cli, kept: Path) -> None:
    assert meshgen("credit", "export").stdout.splitlines()[0].startswith('{"meshgen":"credit-export"')
    meshgen("credit", "export", "--json", code=2)


def test_a_line_without_end_is_read_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 200_000)
    assert max(map(len, _lines(tmp_path / "big"))) <= 65_537


# -- receipts


def receipt_id(meshgen: Cli) -> str:
    rows = csv.DictReader(meshgen("credit", "export", "--format", "csv").output.splitlines())
    return next(row["id"] for row in rows if row["kind"] == "receipt")


def picture(path: str, receipt: str, data: bytes = PICTURE, **more: object) -> str:
    Path(path).write_bytes(with_text(data, {"meshgen": json.dumps({"receipt": receipt, **more})}))
    return path


def test_a_receipt_by_its_id(meshgen: Cli, kept: Path) -> None:
    one = receipt_id(meshgen)
    shown = meshgen("receipt", "show", one[:8]).output
    assert one in shown and "0.700 kudos for 1 picture, paid" in shown and BOB.peer_id in shown and "entry 3 of 4" in shown
    found = json.loads(meshgen("receipt", "show", one, "--json").stdout)
    assert meshgen("receipt", "show", found["hold"]["id"]).output == shown
    verified = json.loads(meshgen("receipt", "verify", one, "--json").stdout)
    assert verified["ok"] and [check["ok"] for check in verified["checks"]] == [True] * 5
    assert "all that can be checked holds" in meshgen("receipt", "verify", one).output


def test_receipts_that_are_not_there(meshgen: Cli, kept: Path) -> None:
    assert "no entry ffffffffffff is kept" in meshgen("receipt", "show", "f" * 64, code=1).stderr
    assert "is no receipt's id" in meshgen("receipt", "show", "abc", code=1).stderr
    assert "is no receipt's id" in meshgen("receipt", "show", "g" * 64, code=1).stderr
    rows = csv.DictReader(meshgen("credit", "export", "--format", "csv").output.splitlines())
    tip = next(row["id"] for row in rows if row["kind"] == "transfer")
    assert "belongs to none" in meshgen("receipt", "show", tip, code=1).stderr


def test_a_picture_names_its_receipt(meshgen: Cli, kept: Path) -> None:
    one = receipt_id(meshgen)
    assert one in meshgen("receipt", "show", picture("p.png", one)).output
    text = meshgen("receipt", "verify", "p.png").output
    assert "the salts that open the receipt's commitment are not in the file" in text and "   ?" in text


def test_a_picture_that_was_paid_for_is_told_from_one_that_was_not(meshgen: Cli, kept: Path) -> None:
    one = receipt_id(meshgen)
    opened = [[SALT.hex(), hashlib.sha256(PICTURE).hexdigest()]]
    text = meshgen("receipt", "verify", picture("p.png", one, opened=opened)).output
    assert " yes  the receipt pays for this very picture: picture 1 of 1 of that job" in text
    failed = meshgen("receipt", "verify", picture("q.png", one, png(8, 9), opened=opened), code=1).output
    assert "  NO  the receipt pays for this very picture: its pixels" in failed
    lie = [[SALT.hex(), hashlib.sha256(png(8, 9)).hexdigest()]]
    failed = meshgen("receipt", "verify", picture("r.png", one, png(8, 9), opened=lie), code=1).output
    assert "do not open the receipt's commitment" in failed
    for nonsense in (7, [[1, 2]], [["zz", "zz"]], [["00", "00"]], "x", [1]):
        assert "are not in the file" in meshgen("receipt", "verify", picture("s.png", one, opened=nonsense)).output


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GIF89a", "it is not a PNG"),
        (PICTURE, "says nothing of meshgen"),
        (PICTURE[:40], "cut off"),
        (with_text(PICTURE, {"meshgen": "{"}), "Expecting"),
        (with_text(PICTURE, {"meshgen": "[]"}), "says nothing of meshgen"),
        (with_text(PICTURE, {"meshgen": '{"receipt": ""}'}), "names no receipt"),
        (with_text(PICTURE, {"meshgen": '{"receipt": "../../etc"}'}), "names no receipt"),
    ],
)
def test_pictures_without_receipts(meshgen: Cli, kept: Path, data: bytes, why: str) -> None:
    Path("p.png").write_bytes(data)
    assert why in meshgen("receipt", "show", "p.png", code=1).stderr


def test_receipts_without_a_log(meshgen: Cli) -> None:
    assert "there is no credit log" in meshgen("receipt", "show", "abcdef", code=4).stderr


# -- pieces


def test_amounts() -> None:
    assert [parse_kudos(text) for text in ("1", "0.5", "12.345", " 7 ")] == [1000, 500, 12345, 7000]


def test_since() -> None:
    assert parse_since("") == parse_since(" ")
    assert parse_since("17").seq == 17
    assert [parse_since(text, NOW_MS).ms for text in ("90m", "2d", "1w")] == [
        NOW_MS - 90 * 60_000,
        NOW_MS - 2 * 86_400_000,
        NOW_MS - 7 * 86_400_000,
    ]
    assert parse_since("2026-09-10T02:00+02:00").ms == parse_since("2026-09-10").ms == 1_788_998_400_000
    assert parse_since("999999w", NOW_MS).ms == 0
    for wrong in ("0", "-1", "2026-13-01", "1y", "9" * 30, "٣"):
        with pytest.raises(BadParameter):
            parse_since(wrong)
    assert parse_span("2d", "--for") == 2 * 86_400_000


def test_progress_is_for_terminals_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("checking", 10) as progress:
        progress.at(5)
    assert capsys.readouterr() == ("", "")
    progress._on, progress._due = True, 0.0
    progress.at(5)
    assert "checking 50 %" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_an_export_is_its_owners_alone(meshgen: Cli, kept: Path) -> None:
    meshgen("credit", "export", "--out", "log.jsonl")
    assert stat.S_IMODE(Path("log.jsonl").stat().st_mode) == 0o600
