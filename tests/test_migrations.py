"""A home from version to version, with steps that are made up: there has been no change yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from meshgen.cli import main
from meshgen.home import HOME_VERSION, RESTORING_DIR, VERSION_FILE, HomeError, home_version
from meshgen.ledger.database import locked
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.store import LEDGER_FILE, LOCK_FILE
from meshgen.migrations import STEPS, Step, open_home


def upper(home: Path) -> None:
    """keys.json in capitals; the folder notes becomes a file."""
    (home / "keys.json").write_text((home / "keys.json").read_text().upper())
    text = (home / "notes" / "a").read_text()
    (home / "notes" / "a").unlink()
    (home / "notes").rmdir()
    (home / "notes.txt").write_text(text)


def louder(home: Path) -> None:
    (home / "notes.txt").write_text((home / "notes.txt").read_text() + "!")


UP = {1: Step(("keys.json", "notes", "notes.txt"), upper), 2: Step(("notes.txt",), louder)}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """From before there were versions."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a").write_text("well")
    (tmp_path / "keys.json").write_text("abc")
    (tmp_path / LEDGER_FILE).touch()
    return tmp_path


def tree(home: Path) -> dict[str, str]:
    files = {file.relative_to(home).as_posix(): file.read_text() for file in home.rglob("*") if file.is_file()}
    return {name: text for name, text in files.items() if name not in (LOCK_FILE, LEDGER_FILE)}


def test_todays_homes_need_no_step(old: Path) -> None:
    before = tree(old)
    open_home(old)
    assert tree(old) == before | {VERSION_FILE: f"{HOME_VERSION}\n"}
    assert set(STEPS) == set(range(1, HOME_VERSION))


def test_a_new_home_begins_with_the_newest(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("made")
    open_home(tmp_path, UP, 3)
    assert tree(tmp_path) == {VERSION_FILE: "3\n", "config.yaml": "made"}


def test_step_by_step_with_what_was_there_kept(old: Path) -> None:
    open_home(old, UP, 3)
    assert tree(old) == {
        VERSION_FILE: "3\n",
        "keys.json": "ABC",
        "notes.txt": "well!",
        "before-version-2/keys.json": "abc",
        "before-version-2/notes/a": "well",
        "before-version-3/notes.txt": "well",
    }
    before = tree(old)
    open_home(old, {}, 3)
    assert tree(old) == before, "there is nothing more to do"


class Cut(BaseException):
    """As if the power went."""


@pytest.mark.parametrize("at", ["keys.json", "notes", "notes.txt", VERSION_FILE])
def test_a_step_that_was_cut_off_is_done_again(old: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def until(home: Path) -> None:
        upper(home) if at == VERSION_FILE else (home / "keys.json").write_text("half")
        if at.startswith("notes"):
            (home / "notes" / "a").unlink()
        raise Cut

    with pytest.raises(Cut):
        open_home(old, UP | {1: Step(UP[1].changes, until)}, 3)
    open_home(old, UP, 3)
    assert (old / "keys.json").read_text() == "ABC" and (old / "notes.txt").read_text() == "well!"
    assert not (old / "notes").exists()


def test_a_step_that_fails_leaves_all_as_it_was(old: Path) -> None:
    def fail(home: Path) -> None:
        upper(home)
        raise ValueError("no such thing")

    with pytest.raises(HomeError, match=r"as it was \(ValueError: no such thing\)"):
        open_home(old, {1: Step(UP[1].changes, fail)}, 2)
    assert {name: text for name, text in tree(old).items() if "/" not in name or name == "notes/a"} == {
        "keys.json": "abc",
        "notes/a": "well",
    }


def test_not_under_a_running_node(old: Path) -> None:
    with locked(old / LOCK_FILE), pytest.raises(LedgerError, match="another meshgen process"):
        open_home(old, UP, 3)
    assert (old / "keys.json").read_text() == "abc"


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1.5", "9" * 12, "\0"])
def test_a_damaged_version_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / VERSION_FILE).write_text(text)
    with pytest.raises(HomeError, match="a number is expected"):
        home_version(tmp_path)


@pytest.mark.parametrize("words", [["run"], ["account", "show"], ["status"], ["mesh", "show"], ["credit", "verify"]])
def test_a_newer_home_is_left_alone(old: Path, words: list[str]) -> None:
    (old / VERSION_FILE).write_text("9\n")
    before = tree(old)
    done = CliRunner().invoke(main, ["--home", str(old), *words])
    assert done.exit_code == 4 and "version 9, made by a newer meshgen; this one reads up to 1" in done.output
    assert tree(old) == before


def test_nothing_runs_in_a_half_restored_home(old: Path) -> None:
    (old / RESTORING_DIR).mkdir()
    with pytest.raises(HomeError, match="run the same `meshgen restore` again"):
        open_home(old)


def raising(error: Callable[[], Exception]) -> Callable[[Path], None]:
    def run(_home: Path) -> None:
        raise error()

    return run


def test_a_full_disk_in_a_step_is_said(old: Path) -> None:
    with pytest.raises(HomeError, match="No space left"):
        open_home(old, {1: Step((), raising(lambda: OSError(28, "No space left on device")))}, 2)
