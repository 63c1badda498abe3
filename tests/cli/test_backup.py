"""A home into a file and back: nothing missing, nothing damaged, nothing overwritten that nobody gave up, no log that forks."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import Result

from meshgen.cli import backing, restoring
from meshgen.cli.backing import MANIFEST, Manifest, make_backup
from meshgen.cli.keyfiles import own_key
from meshgen.cli.strongbox import MIN_COST, Line, Sealing
from meshgen.gateway.runfile import RunInfo, write_run
from meshgen.home import INCOMING_KEY_FILE, PLACE_FILE, RESTORED_FILE, RESTORING_DIR
from meshgen.identity import KEY_FILE, load_or_create
from meshgen.ledger.beginning import is_copied
from meshgen.ledger.database import locked
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.owner import home_key
from meshgen.ledger.store import LEDGER_FILE, LOCK_FILE, open_read_only
from meshgen.protocols.credit import Advisory, net_id

Cli = Callable[..., Result]
WORDS = "correct horse"
NET = net_id(b"backups")
FILES = {
    "config.yaml": "node: {alias: rig}\n",
    "keys.json": "[]",
    "models.json": "{}",
    "mesh.key": "k" * 64,
    "charter/0.yaml": "name: x\n",
    "charter/through.txt": "/ip4/...",
    "recovery/identity.key": "r" * 32,
    "recovery/next/identity.key": "n" * 32,
    "retired/12D3.key": "o" * 32,
    "worker.paused": "{}",
}
NOT_THESE = {
    "run/api.json": "{}",
    "api.token": "secret",
    "meshgen.log": "lines",
    "meshgen.log.1": "lines",
    "pictures/a.png": "png",
    "alchemy/weights.onnx": "w",
    ".hidden": "",
    "models/big.safetensors": "w",
}


def now_ms() -> int:
    return 1_780_315_200_000


def word(number: int) -> Advisory:
    return Advisory("avoid", 0, 0, bytes([1 + number % 200]) * 32, "", 0, now_ms() + 60_000, b"")


def say(home: Path, times: int) -> None:
    """So many own entries more."""

    async def append() -> None:
        identity = home_key(home)
        async with open_ledger(home, identity, NET, now_ms=now_ms) as ledger:
            for number in range(times):
                await ledger.append(word(number))

    trio.run(append)


def length(home: Path) -> int:
    with open_read_only(home) as store:
        return store.end(own_key(home).public_key).seq


def tree(home: Path) -> dict[str, bytes]:
    """Without what SQLite puts beside a log that somebody reads."""
    files = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.endswith(("-shm", "-wal"))}


@pytest.fixture
def lived(home: Path) -> Path:
    """A home that was used: three own entries."""
    home.mkdir(mode=0o700)
    for name, text in (FILES | NOT_THESE).items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    load_or_create(home)
    for name in ("recovery/identity.key", "recovery/next/identity.key"):
        (home / name).chmod(0o600)
    say(home, 2)
    return home


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The passphrase is worked on as little as the format lets it be."""
    monkeypatch.setattr("meshgen.cli.strongbox.COST", MIN_COST)
    monkeypatch.setattr(make_backup, "__defaults__", (MIN_COST,))


@pytest.fixture
def words(tmp_path: Path) -> str:
    (tmp_path / "words").write_text(WORDS + "\nand more\n")
    return str(tmp_path / "words")


@pytest.fixture
def copy(lived: Path, tmp_path: Path) -> Path:
    make_backup(lived, tmp_path / "copy", None, MIN_COST)
    return tmp_path / "copy"


# -- making one


def test_there_and_back(meshgen: Cli, lived: Path, tmp_path: Path, words: str) -> None:
    before = tree(lived)
    said = meshgen("backup", "b", "--passphrase-file", words).output
    assert "own entry 3" in said and "sealed" in said
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    data = (tmp_path / "b").read_bytes()
    assert b"alias: rig" not in data and own_key(lived).seed not in data
    assert tree(lived) == before and sorted(path.name for path in tmp_path.iterdir()) == ["b", "home", "words"]

    again = tmp_path / "again"
    said = meshgen("restore", "b", "--home", str(again), "--passphrase-file", words).output
    assert own_key(lived).peer_id in said and "own entries 1 to 3" in said and "it asks them for what its log lacks" in said
    found = tree(again)
    expected = {LEDGER_FILE, LOCK_FILE, KEY_FILE, "ledger.begun", RESTORED_FILE, *FILES}
    assert found.keys() == expected
    assert {name: found[name] for name in FILES} == {name: text.encode() for name, text in FILES.items()}
    assert own_key(again) == own_key(lived) and length(again) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in again.rglob("*") if path.is_file()} - {0o644} == {0o600}


def test_the_node_may_run_meanwhile(meshgen: Cli, lived: Path, tmp_path: Path) -> None:
    """What it writes during the copy is in it or not, and what is in it holds."""

    async def both() -> None:
        identity = load_or_create(lived)
        async with open_ledger(lived, identity, NET, now_ms=now_ms) as ledger, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, make_backup, lived, tmp_path / "copy", None)
            for number in range(50):
                await ledger.append(word(number))

    trio.run(both)
    again = tmp_path / "again"
    found = json.loads(meshgen("restore", "copy", "--home", str(again), "--json").stdout)
    assert 3 <= found["entries"] == length(again) <= 53


def test_the_passphrase_is_asked_for_twice(meshgen: Cli, lived: Path, tmp_path: Path) -> None:
    result = meshgen("backup", "b", stdin=f"{WORDS}\n{WORDS}\n")
    assert WORDS not in result.output
    assert "own entries 1 to 3" in meshgen("restore", "b", "--home", "again", stdin=f"{WORDS}\n").output


@pytest.mark.parametrize(
    ("text", "says"), [("short\n", "at least 8 characters"), ("", "at least 8"), ("\xff" * 9, "can't be read")]
)
def test_a_passphrase_that_is_none(meshgen: Cli, lived: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "w").write_bytes(text.encode("latin-1"))
    assert says in meshgen("backup", "b", "--passphrase-file", "w", code=1).stderr
    assert not (tmp_path / "b").exists()


def test_plainly_if_asked_to(meshgen: Cli, lived: Path, tmp_path: Path) -> None:
    assert "whoever can read it has this node's key" in meshgen("backup", "b", "--no-encrypt").output
    assert not Line.read((tmp_path / "b").open("rb")).sealed


def test_no_backup_overwrites_another(meshgen: Cli, lived: Path, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("older")
    assert "exists already" in meshgen("backup", "b", "--no-encrypt", code=1).stderr
    assert (tmp_path / "b").read_text() == "older"


@pytest.mark.parametrize(
    ("name", "says"),
    [(INCOMING_KEY_FILE, "account rotate"), (RESTORING_DIR, "`meshgen restore`")],
)
def test_not_of_a_home_that_is_half_changed(meshgen: Cli, lived: Path, tmp_path: Path, name: str, says: str) -> None:
    (lived / name).mkdir()
    assert says in meshgen("backup", "b", "--no-encrypt", code=4).stderr
    assert not (tmp_path / "b").exists()


def test_not_where_it_may_not(meshgen: Cli, lived: Path) -> None:
    assert "can't be written" in meshgen("backup", "nowhere/b", "--no-encrypt", code=1).stderr


def test_a_full_disk_leaves_nothing_behind(
    meshgen: Cli, lived: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = tree(lived)
    monkeypatch.setattr(backing.os, "fsync", full)
    assert "b can't be written: No space left" in meshgen("backup", "b", "--no-encrypt", code=1).stderr
    assert "can't be written: No space left" in meshgen("restore", str(copy), code=4).stderr
    assert tree(lived) == before and sorted(path.name for path in tmp_path.iterdir()) == ["copy", "home"]


def test_a_disk_that_is_full_for_the_logs_copy_is_the_backups(
    meshgen: Cli, lived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def small(*words: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*words, **options)
        connection.execute("PRAGMA max_page_count=1")
        return connection

    monkeypatch.setattr(backing.sqlite3, "connect", small)
    assert "b can't be written: No space left" in meshgen("backup", "b", "--no-encrypt", code=1).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_not_by_another_user(meshgen: Cli, lived: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, in the home of a service: its node could not use what SQLite leaves there."""
    monkeypatch.setattr(os, "geteuid", lambda: lived.stat().st_uid + 1)
    for words in (("backup", "b", "--no-encrypt"), ("restore", str(copy))):
        assert f"sudo -u '#{lived.stat().st_uid}'" in meshgen(*words, code=4).stderr


def test_nothing_to_back_up(meshgen: Cli) -> None:
    assert "there is no key in" in meshgen("backup", "b", "--no-encrypt", code=4).stderr


def test_what_is_no_list_is_left_out_and_said(meshgen: Cli, lived: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "MAX_FILE", 100)
    (lived / "strange.bin").write_bytes(bytes(200))
    assert "left out, as it is too large for a list: strange.bin" in meshgen("backup", "b", "--no-encrypt").output


def test_another_keys_log_is_not_taken_for_this_ones(meshgen: Cli, lived: Path) -> None:
    (lived / KEY_FILE).write_bytes(b"x" * 32)
    assert "another key's log" in meshgen("backup", "b", "--no-encrypt", code=4).stderr


# -- a bad one


def rewritten(copy: Path, change: Callable[[dict[str, bytes], dict[str, object]], None], listed: bool = True) -> None:
    """The backup with other content; its list follows unless told otherwise."""
    with copy.open("rb") as file:
        Line.read(file)
        with tarfile.open(fileobj=file, mode="r|") as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    manifest = json.loads(files.pop(MANIFEST))
    change(files, manifest)
    if listed:
        manifest["files"] = {name: (len(data), backing.hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    with copy.open("wb") as out:
        box = Sealing(out, None)
        with tarfile.open(fileobj=box, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for name, data in {MANIFEST: json.dumps(manifest).encode(), **files}.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        box.finish()


BAD: dict[str, tuple[Callable[[dict[str, bytes], dict[str, object]], object], bool, str]] = {
    "changed": (lambda files, _: files.update({"config.yaml": b"node: {alias: rog}\n"}), False, "config.yaml in it is damaged"),
    "longer": (lambda files, _: files.update({"config.yaml": b"x" * 50}), False, "not as its list says"),
    "missing": (lambda files, _: files.pop("keys.json"), False, "keys.json is missing"),
    "unlisted": (lambda files, _: files.update({"more": b""}), False, "not as its list says"),
    "climbing": (lambda files, _: files.update({"../evil": b""}), True, "no backup's"),
    "absolute": (lambda files, _: files.update({"/tmp/evil": b""}), True, "no backup's"),
    "hidden": (lambda files, _: files.update({".bashrc": b""}), True, "no backup's"),
    "deep": (lambda files, _: files.update({"a/b/c/d/e": b""}), True, "no backup's"),
    "keyless": (lambda files, _: files.pop(KEY_FILE), True, "no backup's"),
    "other key": (lambda files, _: files.update({KEY_FILE: b"x" * 32}), True, "its key is another"),
    "short key": (lambda files, _: files.update({KEY_FILE: b"x"}), True, "is no key's file"),
    "shorter log": (lambda _, manifest: manifest.update(entries=9), True, "its credit log is damaged"),
    "no log": (lambda files, _: files.update({LEDGER_FILE: b"x" * 9000}), True, "its credit log can't be used"),
    "bad list": (lambda _, manifest: manifest.update(peer="nobody"), True, "list of files is damaged"),
    "newer": (lambda _, manifest: manifest.update(home_version=99), True, "newer than this one"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_backup_changes_nothing(meshgen: Cli, lived: Path, copy: Path, tmp_path: Path, fault: str) -> None:
    change, listed, says = BAD[fault]
    rewritten(copy, change, listed)  # type: ignore[arg-type]
    before = tree(lived)
    for home in (lived, tmp_path / "fresh"):
        result = meshgen("restore", str(copy), "--home", str(home), "--force", code=4 if fault == "short key" else 1)
        assert says in result.stderr
    assert tree(lived) == before
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize("cut", [600, 3000, 5900])
def test_one_that_was_cut_off_changes_nothing(meshgen: Cli, lived: Path, copy: Path, cut: int) -> None:
    before = tree(lived)
    copy.write_bytes(copy.read_bytes()[: -len(copy.read_bytes()) * cut // 6000 or None])
    assert "can't be restored" in meshgen("restore", str(copy), "--home", "fresh", code=1).stderr
    assert tree(lived) == before


def test_the_wrong_passphrase_and_no_file(meshgen: Cli, lived: Path, words: str, tmp_path: Path) -> None:
    meshgen("backup", "b", "--passphrase-file", words)
    (tmp_path / "words").write_text("something else")
    assert "the passphrase is another one" in meshgen("restore", "b", "--home", "x", "--passphrase-file", words, code=1).stderr
    assert "there is no" in meshgen("restore", "none", "--home", "x", code=1).stderr
    assert not (tmp_path / "x").exists()


def test_manifests_are_read_as_written() -> None:
    peer = "12D3KooWQe3GmcX3ewAMpwQWTidu19mRdT11B9F2SkHJob3Qm8pi"
    manifest = Manifest(peer, 3, 1_780_315_200_000, {KEY_FILE: (32, "ab")})
    assert Manifest.decode(manifest.encode()) == manifest
    assert manifest.made == "2026-06-01 12:00:00 UTC"


# -- over a home that is there


def test_over_the_same_home_what_was_there_is_kept(meshgen: Cli, lived: Path, copy: Path) -> None:
    (lived / "config.yaml").write_text("node: {alias: new}\n")
    (lived / "since.json").write_text("stays")
    found = json.loads(meshgen("restore", str(copy), "--json").stdout)
    assert (lived / "config.yaml").read_text() == FILES["config.yaml"]
    assert (lived / "since.json").read_text() == "stays" and (lived / "pictures/a.png").exists()
    aside = Path(found["replaced"])
    assert aside.parent == lived / "replaced" and (aside / "config.yaml").read_text() == "node: {alias: new}\n"
    assert (aside / LEDGER_FILE).exists() and length(lived) == 3


def test_a_longer_log_is_not_given_up(meshgen: Cli, lived: Path, copy: Path) -> None:
    say(lived, 4)
    before = tree(lived)
    said = meshgen("restore", str(copy), code=4).stderr
    assert "a log of 7 own entries, the backup one of 3" in said and "--force" in said
    assert tree(lived) == before
    aside = Path(json.loads(meshgen("restore", str(copy), "--force", "--json").stdout)["replaced"])
    assert length(lived) == 3
    with open_read_only(aside / LEDGER_FILE) as store:
        assert store.end(own_key(lived).public_key).seq == 7, "and it is whole"


def test_another_key_is_not_given_up(meshgen: Cli, lived: Path, copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    key = load_or_create(other)
    say(other, 1)
    (other / "account.id").write_text("aa" * 32)
    before = tree(other)
    assert f"has the key of {key.peer_id}" in meshgen("restore", str(copy), "--home", str(other), code=4).stderr
    assert tree(other) == before
    aside = Path(json.loads(meshgen("restore", str(copy), "--home", str(other), "--force", "--json").stdout)["replaced"])
    assert own_key(other) == own_key(lived) and length(other) == 3
    assert not (other / "account.id").exists(), "nothing of the other stays where it counts"
    assert (own_key(aside), length(aside)) == (key, 2)


def test_a_log_that_can_not_be_used_is_no_reason(meshgen: Cli, lived: Path, copy: Path) -> None:
    (lived / LEDGER_FILE).write_bytes(b"x" * 5000)
    meshgen("restore", str(copy))
    assert length(lived) == 3


def test_not_under_a_running_node(meshgen: Cli, lived: Path, copy: Path) -> None:
    before = tree(lived)
    with locked(lived / LOCK_FILE):
        assert "another meshgen process" in meshgen("restore", str(copy), code=1).stderr
    write_run(lived, RunInfo("http://127.0.0.1:1", os.getpid(), "x"))
    assert "meshgen stop" in meshgen("restore", str(copy), code=1).stderr
    assert tree(lived).keys() == before.keys()


class Cut(BaseException):
    """As if the power went."""


@pytest.mark.parametrize("at", range(1, 19, 2))
def test_cut_off_anywhere_it_is_done_again(
    meshgen: Cli, lived: Path, copy: Path, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over another home: afterwards it is one or the other, or says that it is neither."""
    other = tmp_path / "other"
    key = load_or_create(other)
    say(other, 1)
    left, sync = at, restoring.sync_folder

    def counted(folder: Path) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Cut
        sync(folder)

    monkeypatch.setattr(restoring, "sync_folder", counted)
    with pytest.raises(Cut):
        restoring.restore_home(other, copy, str, force=True, newest=False)
    assert own_key(other) == key or length(other) == 3
    if (other / LEDGER_FILE).exists() and length_of_any(other) == 3:
        assert (other / RESTORED_FILE).exists(), "it never looks newer than it is"
    assert "was cut off: run the same `meshgen restore` again" in meshgen("run", "--home", str(other), code=4).stderr
    meshgen("restore", str(copy), "--home", str(other), "--force")
    assert own_key(other) == own_key(lived) and length(other) == 3
    assert (other / RESTORED_FILE).exists() and not (other / RESTORING_DIR).exists()


def length_of_any(home: Path) -> int:
    with open_read_only(home) as store:
        return max(store.end(author).seq for author in store.authors())


# -- what an old one means


def test_nothing_is_appended_before_others_were_asked(meshgen: Cli, lived: Path, copy: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    meshgen("restore", str(copy), "--home", str(again))
    with pytest.raises(LedgerError, match="came from a backup"):
        say(again, 1)
    assert length(again) == 3 and (again / RESTORED_FILE).exists()
    assert "came from a backup" in meshgen("account", "rotate", "--yes", "--home", str(again), code=4).stderr


def test_the_newest_asks_nobody(meshgen: Cli, lived: Path, copy: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    meshgen("restore", str(copy), "--home", str(again))
    meshgen("restore", str(copy), "--home", str(again), "--newest")
    say(again, 1)
    assert length(again) == 4


def test_the_newest_is_no_copy_where_another_log_lay(meshgen: Cli, lived: Path, copy: Path) -> None:
    meshgen("restore", str(copy), "--home", str(lived), "--newest")
    assert not is_copied(lived)
    say(lived, 1)
    assert not is_copied(lived) and (lived / PLACE_FILE).exists()
    moved = Path(shutil.copytree(lived, lived.parent / "moved"))
    assert is_copied(moved), "and is noticed again"


def test_one_from_before_the_log_began(meshgen: Cli, tmp_path: Path) -> None:
    """The key may have begun its log since: others are asked for all of it, and it is not begun twice."""
    meshgen("init")
    assert "no credit log yet" in meshgen("backup", "b", "--no-encrypt").output
    again = tmp_path / "again"
    said = meshgen("restore", "b", "--home", str(again)).output
    assert "no credit log" in said and "restore it with --newest" in said
    with pytest.raises(LedgerError, match="came from a backup"):
        say(again, 1)
    assert length(again) == 0
    meshgen("restore", "b", "--home", str(again), "--newest")
    say(again, 0)
    assert length(again) == 1, "it never ran: now it begins"


@pytest.mark.parametrize("emptied", [False, True])
def test_a_lost_log_is_asked_for_with_a_backup_that_is_made_now(meshgen: Cli, lived: Path, emptied: bool) -> None:
    for name in (LEDGER_FILE, f"{LEDGER_FILE}-wal", f"{LEDGER_FILE}-shm"):
        (lived / name).unlink(missing_ok=True)
    if emptied:
        (lived / LEDGER_FILE).touch()
    else:
        with pytest.raises(LedgerError, match="even one made now"):
            say(lived, 1)
    meshgen("backup", "b", "--no-encrypt")
    meshgen("restore", "b")
    with pytest.raises(LedgerError, match="came from a backup"):
        say(lived, 1)
