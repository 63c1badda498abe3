"""Tables and findings on a terminal of 80 columns, and whole in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshgen.cli import screen, verb
from meshgen.cli.screen import fold_last, folded
from tests.cli.conftest import ROOT

LONG = "a waiting job costs no memory here and others see how long the wait is"


def test_a_last_column_is_folded_beside_the_others() -> None:
    assert fold_last([("key    ", LONG), ("more   ", "")], 40) == [
        "key    a waiting job costs no memory\n       here and others see how long the\n       wait is",
        "more",
    ]


def test_where_there_is_no_room_beside_it_all_go_below() -> None:
    peer = "12D3KooW" * 5
    assert fold_last([("NAME".ljust(30), "PEER"), ("k" * 30, peer), ("none".ljust(30), "")], 50) == [
        "NAME\n    PEER",
        f"{'k' * 30}\n    {peer}",
        "none",
    ]


@pytest.mark.parametrize("text", ["12D3KooW" * 12, "short", ""])
def test_what_fits_or_has_no_words_stays_whole(text: str) -> None:
    assert fold_last([("key  ", text)], 40) == [f"key  {text}".rstrip()]
    assert fold_last([("", LONG)], 0) == [LONG]


def test_in_a_pipe_nothing_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert folded(f"{LONG}\n{LONG}", 18) == f"{LONG}\n{'':18}{LONG}"
    assert LONG in verb.table(("A", "B"), [("x" * 60, LONG)])
    for width in (40, 80, 19):
        for module in (screen, verb):
            monkeypatch.setattr(module, "screen_width", lambda width=width: width)
        lines = folded(LONG, 18).splitlines() + verb.table(("A", "B"), [("x", LONG)]).splitlines()
        assert max(map(len, lines)) <= max(width, 18 + len(LONG) if width < 42 else 0)


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_doctor_fits_a_terminal(tmp_path: Path) -> None:
    import pty

    own, theirs = pty.openpty()
    command = [sys.executable, "-m", "meshgen.cli", "--home", str(tmp_path / "home"), "doctor"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "LINES": "24", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    shown = b""
    while data := _read(own):
        shown += data
    os.close(own)
    assert process.wait(60) == 1
    lines = shown.decode().splitlines()
    assert len(lines) > 8 and not [line for line in lines if len(line) > 80 and " " in line[18:].strip()]
    assert all(line[:5].strip() in ("ok", "note", "fault", "") or line is lines[-1] for line in lines)
    assert b"\x1b" not in shown


def _read(terminal: int) -> bytes:
    """Linux tells the end of a terminal as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
