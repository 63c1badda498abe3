"""The demo's folder, and strangers' words on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from meshgen.cli.demo import HOMES, MARK, _clear
from meshgen.cli.faults import Fault
from meshgen.cli.watching import Bars


def test_a_folder_that_is_no_demos_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / HOMES / "precious"
    precious.parent.mkdir()
    precious.write_text("mine")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(Fault, match="something else"):
        _clear(tmp_path)
    assert precious.read_text() == "mine"


def test_a_demos_folder_is_cleared(tmp_path: Path) -> None:
    _clear(tmp_path / "demo")
    (tmp_path / "demo" / "report.json").write_text("{}")
    (tmp_path / "demo" / "notes.txt").write_text("kept")
    _clear(tmp_path / "demo")
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {HOMES, "notes.txt"}
    assert (tmp_path / "demo" / MARK).exists()


@pytest.mark.parametrize("alias", ["[/]", "[red]x", "[link=http://a]b"])
def test_an_alias_is_shown_as_it_is(alias: str) -> None:
    bars = Bars("picture")
    bars._progress.live.console = Console(file=io.StringIO(), force_terminal=True, width=100)
    bars.step(0, 1, 4, alias)
    with bars._progress.live.console.capture() as captured:
        bars._progress.live.console.print(bars._progress.get_renderable())
    assert alias in captured.get()
