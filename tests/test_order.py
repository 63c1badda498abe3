"""What begins first is there, and what shares a mesh is done by one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.order import LONGEST, MESH, OF_MESH, unit

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("begins", [*LONGEST[1:], *sorted(OF_MESH)])
def test_what_is_named_is_there(begins: str) -> None:
    assert (ROOT / begins).exists()


def test_who_uses_the_mesh_of_the_folder_is_named() -> None:
    files = (ROOT / "tests" / "e2e").glob("test_*.py")
    texts = {f"tests/e2e/{file.name}": file.read_text("utf-8") for file in files}
    using = {path for path, text in texts.items() if "(town: Town" in text and "def town(" not in text}
    assert using == OF_MESH


def test_files_are_done_alone_but_for_those_that_share() -> None:
    assert unit("tests/e2e/test_kill.py") == unit("tests/e2e/test_node.py") == MESH
    assert unit("tests/e2e/page/test_axe.py") == unit("tests/e2e/page/test_facts.py")
    assert unit("tests/e2e/test_join.py") != unit("tests/e2e/test_demo.py")
