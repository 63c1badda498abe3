"""A mesh of its own, with real processes: founded, joined through a member's address, changed while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from meshgen.cli import main
from meshgen.cli.local_mesh import LocalNode, local_mesh, wait_for

pytestmark = pytest.mark.e2e
Cli = Callable[..., str]


def meshgen(home: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["--home", str(home), *words])
    assert done.exit_code == code, done.output
    return done.output


def version(node: LocalNode) -> int:
    return int(node.api.get("/v1/status")["mesh"]["version"])


def test_a_mesh_is_founded_joined_and_changed(tmp_path: Path) -> None:
    text = tmp_path / "charter.yaml"
    meshgen(tmp_path / "worker", "mesh", "create", "ours", "--tariff", "step_mkudos=50", "--out", str(text))
    net = json.loads(meshgen(tmp_path / "worker", "mesh", "show", "--json"))["net"]
    with local_mesh(tmp_path, charter="ours") as mesh:
        worker = mesh.start("worker", "worker", worker__engine="fake", worker__fake_seconds=0.1)
        assert worker.api.get("/v1/status")["mesh"]["net"] == net

        wrong = meshgen(tmp_path / "asker", "mesh", "join", worker.address(), "ab" * 16, code=1)
        assert "has no signed charter of the mesh" in wrong
        assert "is a member of ours" in meshgen(tmp_path / "asker", "mesh", "join", worker.address(), net)
        asker = mesh.start("asker", "requester", through=worker)
        wait_for(lambda: bool(asker.api.get("/v1/models")["mesh"]), "the worker to be known", 20)
        assert "by the tariff: 5.000 kudos" in meshgen(tmp_path / "asker", "generate", "x", "--dry-run")

        text.write_text(text.read_text().replace("step_mkudos: 50", "step_mkudos: 25"))
        assert "on its way to the others" in meshgen(tmp_path / "worker", "mesh", "amend", str(text))
        wait_for(lambda: version(asker) == version(worker) == 1, "the new version at both", 20)
        assert "by the tariff: 4.000 kudos" in meshgen(tmp_path / "asker", "generate", "x", "--dry-run")
        meshgen(tmp_path / "asker", "generate", "x", "--max-kudos", "4", "--out", str(tmp_path / "one.png"))
        log = worker.api.get("/v1/credit/log")["entries"]
        assert [entry["kind"] for entry in log][:3] == ["genesis", "charter", "charter"]
    assert "version 1" in meshgen(tmp_path / "asker", "mesh", "show")
