"""One key follows another: wherever it is cut off, no key is lost, and the same call again ends well."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import Result

from meshgen.cli import keyfiles, succession
from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.succession import find_lost, recover, rotate
from meshgen.gateway.runfile import RunInfo, write_run
from meshgen.home import RESTORED_FILE
from meshgen.identity import KEY_FILE, Identity, load_or_create
from meshgen.ledger.accounts import Accounts
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.owner import home_key
from meshgen.ledger.store import open_read_only
from meshgen.ledger.verify import verify_home
from meshgen.protocols.credit import ADD, RECOVER, ROTATE, Content, Entry, Genesis, Key, Transfer, net_id
from tests.cli.conftest import Running
from tests.gateway.fake_node import BOB

Cli = Callable[..., Result]
NET = net_id(b"test")
KEY = f"recovery/{KEY_FILE}"


class Cut(Exception):
    """Stands in for a power cut."""


def write(home: Path, *contents: Content) -> None:
    async def run() -> None:
        async with open_ledger(home, home_key(home), NET, now_ms=succession.now_ms) as ledger:
            for content in contents:
                await ledger.append(content)

    trio.run(run)


def entries(home: Path, key: Identity) -> list[Entry]:
    with open_read_only(home) as store:
        rows = store.chain(key.public_key) if key.public_key in store.authors() else ()
        return [row.revive(verify=True) for row in rows]


def key(path: Path) -> Identity:
    return keyfiles.read_key(path)


def all_keys(home: Path) -> set[bytes]:
    return {path.read_bytes() for path in home.rglob("*.key*") if path.is_file()}


@pytest.fixture
def begun(home: Path) -> Path:
    write(home, Transfer(BOB.public_key, 5, 0, b""))
    return home


def check_rotated(home: Path, old: Identity, new: Identity) -> None:
    """The account goes on with the new key, and its next key is the one that both logs name."""
    assert key(home / KEY_FILE) == new
    assert key(home / "retired" / f"{old.peer_id}.key") == old
    after = hashlib.sha256(key(home / KEY).public_key).digest()
    *_, last = entries(home, old)
    assert Key.from_entry(last) == Key(ROTATE, new.public_key, after, 0, b"", 0)
    account = entries(home, old)[0].id
    (genesis,) = entries(home, new)
    said = Genesis.from_entry(genesis)
    assert (said.account, said.next_key_hash) == (account, after)
    accounts = Accounts()
    for entry in (*entries(home, old), genesis):
        accounts.add(entry)
    assert list(accounts.members(account)) == [old.public_key, new.public_key]
    assert verify_home(home).ok
    assert sorted(path.name for path in home.rglob("*.next*")) == []


def test_rotation(begun: Path) -> None:
    old, new = key(begun / KEY_FILE), key(begun / KEY)
    done = rotate(begun, None)
    assert (done.old, done.new) == (old.public_key, new)
    check_rotated(begun, old, new)
    third = key(begun / KEY)
    rotate(begun, None)
    assert key(begun / KEY_FILE) == third
    assert [entry.content and entry.content.TAG for entry in entries(begun, new)] == ["genesis", "key"]


def test_rotation_with_a_recovery_key_that_is_kept_elsewhere(begun: Path, tmp_path: Path) -> None:
    old, new = key(begun / KEY_FILE), key(begun / KEY)
    (begun / "recovery").rename(tmp_path / "usb")
    with pytest.raises(BadHome, match="there is no"):
        rotate(begun, None)
    rotate(begun, str(tmp_path / "usb"))
    check_rotated(begun, old, new)


def test_another_recovery_key_is_refused_and_nothing_changes(begun: Path, tmp_path: Path) -> None:
    load_or_create(tmp_path / "other")
    before = all_keys(begun)
    with pytest.raises(Fault, match="not the one that this log committed to"):
        rotate(begun, str(tmp_path / "other"))
    assert all_keys(begun) == before and len(entries(begun, key(begun / KEY_FILE))) == 2


@pytest.mark.parametrize("how", ["copied", "restored"])
def test_a_home_that_may_lack_entries_closes_no_log(begun: Path, tmp_path: Path, how: str) -> None:
    if how == "copied":
        home = Path(shutil.copytree(begun, tmp_path / "elsewhere"))
    else:
        home = begun
        (home / RESTORED_FILE).write_text(key(home / KEY_FILE).peer_id + "\n")
    before = all_keys(home)
    with pytest.raises(Fault, match="could sign a second history"):
        rotate(home, None)
    assert all_keys(home) == before and len(entries(home, key(home / KEY_FILE))) == 2


def test_no_rotation_while_the_ledger_is_in_use(begun: Path) -> None:
    script = "import sys; from meshgen.ledger.store import open_store; from pathlib import Path\n"
    script += "with open_store(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", script, str(begun)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdin
    holder.stdout.readline()
    before = all_keys(begun)
    with pytest.raises(LedgerError, match="another meshgen process"):
        rotate(begun, None)
    assert all_keys(begun) == before
    holder.stdin.close()
    holder.wait()
    holder.stdout.close()


@contextmanager
def cut_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[list[int]]:
    """Before the ``step``-th change of a file or folder, everything ends. How many changes there were."""
    count = [0]

    def cutting(function: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            count[0] += 1
            if count[0] == step:
                raise Cut
            return function(*given, **named)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(keyfiles, "write_durably", cutting(keyfiles.write_durably))
        patch.setattr(keyfiles, "sync_folder", cutting(keyfiles.sync_folder))
        patch.setattr(Path, "replace", cutting(Path.replace))
        patch.setattr("meshgen.ledger.ledger.Ledger.append", cutting(succession.Ledger.append))
        patch.setattr(succession, "_begin", cutting(succession._begin))
        yield count


def steps_of(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> int:
    with cut_at(monkeypatch, 0) as count:
        action()
    return count[0]


def test_a_rotation_that_is_cut_off_anywhere_goes_on(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "measure")
    total = steps_of(monkeypatch, lambda: rotate(tmp_path / "measure", None))
    assert total > 10
    for step in range(1, total + 1):
        place = tmp_path / f"cut{step}"
        write(place)
        old, new, before = key(place / KEY_FILE), key(place / KEY), all_keys(place)
        with cut_at(monkeypatch, step), pytest.raises((Cut, BaseExceptionGroup)):
            rotate(place, None)
        assert before <= all_keys(place), f"a key is gone after step {step}"
        if key(place / KEY_FILE) == new:  # all was done but its first entry, which the node's next start writes
            with pytest.raises(BadHome, match="no log yet"):
                rotate(place, None)
            write(place)
        else:
            rotate(place, None)
        check_rotated(place, old, new)


# -- recovery


def test_recovery_in_the_home_whose_key_was_stolen(begun: Path, tmp_path: Path) -> None:
    old, new = key(begun / KEY_FILE), key(begun / KEY)
    (begun / "recovery").rename(tmp_path / "usb")
    done, head = recover(begun, str(tmp_path / "usb"), None, None)
    assert (done.old, done.new, head.seq) == (old.public_key, new, 2)
    check_recovered(begun, old, new, entries(begun, old))
    again, _ = recover(begun, str(tmp_path / "usb"), None, None)
    assert again.new == new and len(entries(begun, new)) == 2


def check_recovered(home: Path, old: Identity, new: Identity, chain: list[Entry], at_seq: int = 2) -> None:
    genesis, word = entries(home, new)
    after = hashlib.sha256(key(home / KEY).public_key).digest()
    assert (Genesis.from_entry(genesis).account, Genesis.from_entry(genesis).next_key_hash) == (chain[0].id, after)
    assert Key.from_entry(word) == Key(RECOVER, old.public_key, b"", at_seq, chain[at_seq - 1].id, 0)
    assert key(home / KEY_FILE) == new and key(home / KEY) not in (old, new)
    assert verify_home(home).ok


def test_recovery_into_a_fresh_home_from_an_export(begun: Path, tmp_path: Path, meshgen: Cli) -> None:
    old, new, fresh = key(begun / KEY_FILE), key(begun / KEY), tmp_path / "fresh"
    meshgen("credit", "export", "--out", "lost.jsonl")
    keyfile = str(begun / KEY)
    with pytest.raises(Fault, match="committed to this recovery key"):
        recover(fresh, keyfile, None, None)
    text = meshgen("account", "recover", "--home", str(fresh), "--from", keyfile, "--log", "lost.jsonl", "--yes").output
    assert new.peer_id in text and old.peer_id in text and "recovery" in text
    check_recovered(fresh, old, new, entries(begun, old))
    shown = meshgen("account", "show", "--home", str(fresh)).output
    assert old.peer_id in shown and "retired after 2" in shown and "this one" in shown


def test_recovery_up_to_an_earlier_entry(begun: Path) -> None:
    old, new = key(begun / KEY_FILE), key(begun / KEY)
    write(begun, Transfer(BOB.public_key, 5000, 0, b""))
    with pytest.raises(Fault, match="goes up to 3"):
        recover(begun, str(begun / KEY), None, 4)
    recover(begun, str(begun / KEY), None, 2)
    check_recovered(begun, old, new, entries(begun, old))


def test_a_recovery_that_is_cut_off_anywhere_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str) -> tuple[Path, str]:
        place = tmp_path / name
        write(place, Transfer(BOB.public_key, 5, 0, b""))
        (place / "recovery").rename(tmp_path / f"usb-{name}")
        return place, str(tmp_path / f"usb-{name}")

    total = steps_of(monkeypatch, partial(recover, *made("measure"), None, None))
    for step in range(1, total + 1):
        place, usb = made(f"cut{step}")
        old, new, before = key(place / KEY_FILE), key(Path(usb) / KEY_FILE), all_keys(place)
        with cut_at(monkeypatch, step), pytest.raises((Cut, BaseExceptionGroup)):
            recover(place, usb, None, None)
        assert before <= all_keys(place), f"a key is gone after step {step}"
        recover(place, usb, None, None)
        check_recovered(place, old, new, entries(place, old))


def test_a_key_that_nobody_committed_to(begun: Path, tmp_path: Path) -> None:
    stranger = load_or_create(tmp_path / "other")
    with pytest.raises(Fault, match="no log that is kept here committed to this recovery key"):
        find_lost(begun, stranger)
    with pytest.raises(BadHome, match="32"):
        (tmp_path / "short").write_bytes(b"x")
        keyfiles.read_key(tmp_path / "short")


def test_another_peers_home_is_left_alone(begun: Path, tmp_path: Path) -> None:
    write(tmp_path / "other")
    before = all_keys(tmp_path / "other")
    with pytest.raises(Fault, match="has the log of another peer"):
        recover(tmp_path / "other", str(begun / KEY), str(begun), None)
    assert all_keys(tmp_path / "other") == before


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(BadHome, match="can be read by others"):
        keyfiles.read_key(tmp_path / KEY_FILE)


# -- as people call it


def test_no_recovery_under_a_running_node(meshgen: Cli, begun: Path) -> None:
    write_run(begun, RunInfo("http://127.0.0.1:1", os.getpid(), "x"))
    assert "the node runs" in meshgen("account", "recover", "--from", str(begun / KEY), "--yes", code=1).stderr


def test_a_running_node_closes_its_log_itself(
    meshgen: Cli, running: Running, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This very process is the node's, so it does not end: what it has said is what counts, and the rest goes on later."""
    monkeypatch.setattr("meshgen.cli.stop.PATIENCE_S", 0.0)
    new = key(begun / KEY)
    assert "has not ended" in meshgen("account", "rotate", "--yes", code=1).stderr
    after = hashlib.sha256(key(begun / "recovery" / "next" / KEY_FILE).public_key).digest()
    assert running.node.credit.said == [("rotate", new.public_key, after)] and running.node.stopped.wait(10)


def test_a_log_that_its_node_has_closed(begun: Path) -> None:
    old = key(begun / KEY_FILE)
    new, next_hash = succession.next_keys(begun, None)
    write(begun, Key(ROTATE, new, next_hash, 0, b"", 0))
    done = rotate(begun, None)
    assert done.new.public_key == new
    check_rotated(begun, old, done.new)


def test_rotation_asks_first(meshgen: Cli, begun: Path) -> None:
    before = all_keys(begun)
    meshgen("account", "rotate", code=130, stdin="n\n")
    assert all_keys(begun) == before
    new = key(begun / KEY)
    assert new.peer_id in meshgen("account", "rotate", stdin="y\n").output
    assert "this one" in meshgen("account", "show").output


def test_two_devices_of_one_account(meshgen: Cli, begun: Path, tmp_path: Path) -> None:
    account = entries(begun, key(begun / KEY_FILE))[0].id.hex()
    assert account in meshgen("account", "show").output
    fresh = str(tmp_path / "fresh")
    assert "no key in" in meshgen("account", "join", account, "--home", fresh, code=4).stderr
    device = load_or_create(tmp_path / "fresh")
    meshgen("account", "join", account[:20], "--home", fresh, code=2)
    assert f"add-device {device.peer_id}" in meshgen("account", "join", account, "--home", fresh).output
    assert f"will begin in account {account}" in meshgen("account", "show", "--home", fresh).output
    write(tmp_path / "fresh")
    assert "has let this one in yet" in meshgen("account", "show", "--home", fresh).output
    assert "in that account already" in meshgen("account", "join", account, "--home", fresh, code=1).stderr
    assert "log has begun" in meshgen("account", "join", "0" * 64, "--home", fresh, code=4).stderr
    write(begun, Key(ADD, device.public_key, b"", 0, b"", 7000))

    async def bring() -> None:
        async with open_ledger(begun, load_or_create(begun), NET, now_ms=succession.now_ms) as ledger:
            await ledger.add(device.public_key, [entry.wire for entry in entries(tmp_path / "fresh", device)])

    trio.run(bring)
    shown = meshgen("account", "show").output
    assert device.peer_id in shown and "7.000" in shown


def test_a_damaged_account_file_stops_the_node_in_words(meshgen: Cli, home: Path) -> None:
    load_or_create(home)
    (home / "account.id").write_text("zz")
    with pytest.raises(LedgerError, match=r"account\.id holds no account"):
        write(home)
    assert "holds no account" in meshgen("account", "show", code=4).stderr


def test_devices_are_added_through_the_node(meshgen: Cli, running: Running) -> None:
    assert "no peer id" in meshgen("account", "add-device", "x", "--yes", code=2).stderr
    added = meshgen("account", "add-device", BOB.public_key.hex(), "--budget", "5", "--yes").output
    assert "meshgen account join" in added
    assert running.node.credit.said == [("add_device", BOB.public_key, 5000)]
    meshgen("account", "add-device", BOB.peer_id, code=130, stdin="n\n")
    assert "standing by its entries up to 3" in meshgen("account", "retire", "bob", "--yes").output
