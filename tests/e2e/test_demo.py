"""``meshgen demo`` as somebody who has just cloned the repository runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshgen.cli.client import Api
from meshgen.cli.local_mesh import wait_for
from meshgen.ledger.verify import verify_home
from meshgen.pictures import check_png, text_of

PROMPT = "a red circle above a blue square"
ROLES = ["hub", "worker-1", "worker-2", "requester"]
FILES = [f"picture-{number}.png" for number in range(1, 10)]


@contextmanager
def demo(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "meshgen.cli", "demo", "--engine", "fake", "--out", str(folder), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pids(folder: Path) -> set[int]:
    """Of the nodes that run in a demo's folder."""
    return {json.loads(path.read_text())["pid"] for path in folder.glob("homes/*/run/api.json")}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One demo, run to its end: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("shown") / "demo"
    with demo(folder, "--json", "--seed", "100", PROMPT) as process:
        out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err + out
    return folder, json.loads(out)


def test_it_writes_pictures_a_sheet_and_a_report(shown: tuple[Path, dict[str, Any]]) -> None:
    folder, printed = shown
    report = json.loads((folder / "report.json").read_text())
    assert report == printed
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "sheet.png", "report.json", "homes"])
    assert report["prompt"] == PROMPT
    assert report["seconds"] > 0
    assert [row["file"] for row in report["pictures"]] == FILES
    for number, row in enumerate(report["pictures"]):
        assert {"file", "worker", "receipt", "seed", "mkudos"} <= row.keys()
        assert row["seed"] == 100 + number
        picture = (folder / row["file"]).read_bytes()
        check_png(picture, 64, 64)
        assert row["receipt"] in text_of(picture)["meshgen"]
    assert (folder / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_both_workers_drew_and_the_credits_sum_to_zero(shown: tuple[Path, dict[str, Any]]) -> None:
    folder, report = shown
    peers = {row["role"]: row for row in report["peers"]}
    assert list(peers) == ROLES
    assert all({"role", "peer_id", "home", "log_ok", "balance_mkudos"} <= row.keys() for row in peers.values())
    drew = {row["worker"] for row in report["pictures"]}
    assert drew == {peers["worker-1"]["peer_id"], peers["worker-2"]["peer_id"]}
    assert sum(row["balance_mkudos"] for row in peers.values()) == 0
    cost = sum(row["mkudos"] for row in report["pictures"])
    assert peers["requester"]["balance_mkudos"] == -cost < 0
    for row in peers.values():
        assert row["log_ok"] is True
        checked = verify_home(Path(row["home"]))
        assert (checked.ok, checked.balance.net) == (True, row["balance_mkudos"])
    assert pids(folder) == set(), "every node has ended"


def test_again_and_stay_and_ctrl_c(shown: tuple[Path, dict[str, Any]]) -> None:
    """A second run into the same folder; one line says where everything is; Ctrl-C ends it all."""
    folder, first = shown
    with demo(folder, "--json", "--stay", PROMPT) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert {"api", "token_file", "home", "nodes", "report"} <= said.keys()
        assert all(row["log_ok"] for row in said["report"]["peers"]) and said["report"]["credit_sum_mkudos"] == 0
        assert list(said["nodes"]) == ROLES
        api = Api.of(Path(said["home"]))
        assert api.info.url == said["api"]
        assert Path(said["token_file"]).stat().st_mode & 0o777 == 0o600
        peers = api.get("/v1/peers")["peers"]
        assert {row["alias"] for row in peers} >= {"worker-1", "worker-2"}
        assert api.post("/v1/jobs", {"prompt": "a green star", "steps": 4})["id"]
        running = pids(folder)
        assert len(running) == 4
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert rest == "", "one line and no other"
    assert not any(map(alive, running))
    again = json.loads((folder / "report.json").read_text())
    assert {row["peer_id"] for row in again["peers"]}.isdisjoint(row["peer_id"] for row in first["peers"]), "it began anew"
    assert all(row["log_ok"] for row in again["peers"])


def test_ctrl_c_while_it_starts_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with demo(folder) as process:
        wait_for(lambda: bool(pids(folder)), "the first node", 30)
        running = pids(folder)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    wait_for(lambda: not any(map(alive, running | pids(folder))), "the nodes to end", 10)


@pytest.mark.parametrize("words", ([], ["--stay"]))
def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    with demo(tmp_path, *words) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "something else" in err
    assert "--out" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
