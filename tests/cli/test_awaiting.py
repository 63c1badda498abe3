"""Verbs and a node that is not there yet, or does not answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import Result

from meshgen.cli.awaiting import _is_run
from meshgen.gateway.runfile import RunInfo, write_run

Cli = Callable[..., Result]


@contextmanager
def process(*words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Looks like a node that is on its way up, to who looks at its command line."""
    with TemporaryDirectory() as folder:
        program = Path(folder, "meshgen")
        program.write_text("import sys; sys.stdin.read()")
        command = [sys.executable, str(program), *words]
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | environment) as started:
            try:
                yield started
            finally:
                started.kill()  # or who was stopped would be waited for without end


@pytest.fixture
def server(home: Path) -> Iterator[socket.socket]:
    """Connections are made, and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (home / "run").mkdir(parents=True)
        (home / "api.token").write_text("x")
        yield listener


def at(server: socket.socket, home: Path, pid: int) -> RunInfo:
    return RunInfo(f"http://127.0.0.1:{server.getsockname()[1]}", pid, str(home / "api.token"))


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_node_that_was_started_a_moment_ago_is_waited_for(
    meshgen: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    looks: list[float] = []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 8:
            write_run(home, RunInfo("http://127.0.0.1:1", os.getpid(), str(home / "api.token")))

    monkeypatch.setattr("time.sleep", look)
    words, environment = (["run", "--home", str(home)], {}) if by == "option" else (["run"], {"MESHGEN_HOME": str(home)})
    with process(*words, **environment):
        said = meshgen("status", code=3).stderr
    assert len(looks) == 8 and said.startswith("waiting for the node to start ...\n") and "no node runs" not in said


def test_one_that_was_killed_before_is_no_reason_not_to_wait(meshgen: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(home, RunInfo("http://127.0.0.1:1", os.getpid(), "x", born="long ago"))
    assert "was killed" in meshgen("status", code=3).stderr
    monkeypatch.setattr("time.sleep", lambda _: write_run(home, RunInfo("http://127.0.0.1:1", os.getpid(), "x")))
    with process("run", "--home", str(home)):
        assert "x can't be read" in meshgen("status", code=3).stderr


@pytest.mark.parametrize(
    "words", [["run", "--home", "/elsewhere"], ["run", "--home=/elsewhere"], ["status"], ["generate", "run"]]
)
def test_others_are_not_waited_for(meshgen: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waits"))
    with process(*words):
        assert "no node runs" in meshgen("status", code=3).stderr


def test_what_a_node_on_its_way_up_looks_like() -> None:
    assert _is_run(["/usr/bin/python3.11", "/opt/bin/meshgen", "run"]) and _is_run(["Python", "-m", "meshgen.cli", "run"])
    assert _is_run(["meshgen.exe", "--home", "x", "run"]) and _is_run(["python", "-u", "-m", "meshgen.cli", "--debug", "run"])
    assert not any(map(_is_run, ([], ["vim", "meshgen", "run"], ["python", "-m", "meshgen.cli", "status"], ["python", "run"])))


def test_what_merely_has_its_words_does_not() -> None:
    assert not _is_run(["python", "/opt/meshgen", "generate", "run"]), "a picture of a run"
    assert not _is_run(["meshgen", "--home", "run", "status"])
    assert not _is_run(["/home/ann/meshgen/.venv/bin/python", "manage.py", "run"])
    assert not _is_run(["python", "/usr/bin/poetry", "run", "meshgen", "status"])


def test_a_node_that_hangs_is_told_of_and_not_waited_for_without_end(
    meshgen: Cli, home: Path, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshgen.cli.client.SILENT_S", 0.01)
    monkeypatch.setattr("meshgen.cli.client.ANSWER_S", 0.05)
    write_run(home, at(server, home, os.getpid()))
    first, then, cure = meshgen("status", code=3).stderr.splitlines()
    assert "has not answered for" in first and "does not answer" in then and f"kill {os.getpid()}" in cure
    failed = meshgen("status", "--json", code=3)
    assert json.loads(failed.stdout)["error"]["code"] == "no_answer"


def test_the_doctor_waits_once_for_a_node_that_hangs(
    meshgen: Cli, home: Path, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshgen.cli.client.SILENT_S", 0.01)
    monkeypatch.setattr("meshgen.cli.client.ANSWER_S", 0.05)
    write_run(home, at(server, home, os.getpid()))
    (home / "config.yaml").write_text(f"api: {{port: {server.getsockname()[1]}}}\nmesh: {{listen: [/ip4/127.0.0.1/tcp/0]}}")
    result = meshgen("doctor", "--json", code=1)
    found = {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}
    assert result.stderr.count("has not answered for") == 1 and found["node"]["level"] == "fault"
    assert "port" not in found, "it has taken it itself"


def test_a_node_that_was_stopped_by_ctrl_z_is_told_how_to_go_on(
    meshgen: Cli, home: Path, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshgen.cli.client.SILENT_S", 0.01)
    with process("run") as node:
        os.kill(node.pid, signal.SIGSTOP)
        os.waitpid(node.pid, os.WUNTRACED)
        write_run(home, at(server, home, node.pid))
        assert f"kill -CONT {node.pid}" in meshgen("status", code=3).stderr
