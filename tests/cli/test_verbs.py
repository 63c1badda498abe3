"""Verbs against a running node, and without one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from meshgen.cli import VERBS, main
from meshgen.cli.client import Event, _parse
from meshgen.cli.verb import kudos, table
from meshgen.gateway.runfile import RunInfo, starting, write_run
from tests.cli.conftest import Running, process
from tests.gateway.fake_node import ALICE, BOB, award, draw

Cli = Callable[..., Result]
CLIENT_VERBS = (
    "status",
    "stop",
    "peers",
    "models",
    "jobs",
    "jobs x",
    "jobs cancel x",
    "credit balance",
    "credit log",
    "credit explain x",
    "credit tip x 1",
    "credit vouch x 1",
    "credit unvouch x",
    "credit advise x avoid",
    "account retire x",
    "generate x",
)


# -- with a node


def test_status(meshgen: Cli, running: Running) -> None:
    text = meshgen("status").output
    assert ALICE.peer_id in text and "requester" in text and "http://127.0.0.1:" in text
    found = json.loads(meshgen("status", "--json").stdout)
    assert (found["alias"], found["pid"]) == ("alice", os.getpid())


def test_peers(meshgen: Cli, running: Running) -> None:
    assert "bob" in meshgen("peers").output and BOB.peer_id in meshgen("peers").output
    assert json.loads(meshgen("peers", "--json").stdout)["peers"][0]["alias"] == "bob"
    running.node.peers = list  # type: ignore[method-assign]
    assert "no other peer is known yet" in meshgen("peers").output


def test_models_of_the_mesh(meshgen: Cli, running: Running) -> None:
    assert "sd15" in meshgen("models").output
    assert json.loads(meshgen("models", "--json").stdout)["mesh"][0]["workers"] == 2
    running.node.models = lambda: {"mesh": [], "local": []}  # type: ignore[method-assign]
    assert "nobody in the mesh serves a model" in meshgen("models").output


def test_jobs(meshgen: Cli, running: Running) -> None:
    assert "no jobs since the node started" in meshgen("jobs").output
    job = running.node.requester.submit(make_request())
    award(job)
    draw(job, 0)
    job.note("bob draws")
    assert "job1" in meshgen("jobs").output and "1/2" in meshgen("jobs").output
    shown = meshgen("jobs", "job1").output
    assert "1 of 2 pictures" in shown and "bob: 2 pictures, awarded" in shown and "note: bob draws" in shown
    assert "cancelled; what had arrived stays" in meshgen("jobs", "cancel", "job1").output
    assert job.scope.cancel_called
    job.enter("cancelled")
    assert "over already: cancelled" in meshgen("jobs", "cancel", "job1").output
    assert "there is no job nope" in meshgen("jobs", "nope", code=1).stderr
    assert "there is no job" in json.loads(meshgen("jobs", "nope", "--json", code=1).stdout)["error"]["message"]
    meshgen("jobs", "cancel", code=2)
    meshgen("jobs", "a", "b", code=2)


def test_stop_waits_until_the_node_is_gone(meshgen: Cli, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshgen.cli.stop.PATIENCE_S", 0.0)
    failed = meshgen("stop", code=1)  # this very process is the node's
    assert running.node.stopped.wait(10) and f"kill {os.getpid()}" in failed.stderr


# -- what goes wrong, as one document


@pytest.mark.parametrize("words", ["generate", "peers block bob --for 1x", "peers blok", "nonsense", "mesh admit", "join --what"])
def test_wrong_usage_is_a_document_too(meshgen: Cli, running: Running, words: str) -> None:
    told = meshgen(*words.split(), code=2).stderr
    error = json.loads(meshgen(*words.split(), "--json", code=2).stdout)["error"]
    assert error["code"] == "usage" and error["message"] in told and " --help`" in error["hint"]


def test_an_interruption_is_a_document_too(meshgen: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("meshgen.cli.join._entry", interrupted)
    assert json.loads(meshgen("join", "x", "--json", code=130).stdout) == {
        "error": {"message": "interrupted", "code": "interrupted"}
    }
    assert meshgen("join", "x", code=130).stderr.endswith("interrupted\n")


def test_words_behind_two_dashes_are_no_options(meshgen: Cli) -> None:
    assert meshgen("generate", "--", "--json", code=3).stdout == ""


# -- without one


@pytest.mark.parametrize("words", CLIENT_VERBS)
def test_without_a_node_client_verbs_say_so(meshgen: Cli, home: Path, words: str) -> None:
    failed = meshgen(*words.split(), code=3)
    assert failed.stdout == "" and failed.stderr.splitlines() == [
        f"no node runs in {home}",
        "make one with `meshgen join LINE` or `meshgen init`, then `meshgen run`",
    ]
    assert json.loads(meshgen(*words.split(), "--json", code=3).stdout)["error"]["code"] == "not_running"


def test_a_killed_node_and_a_foreign_server_are_told_apart(meshgen: Cli, home: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    token = home / "api.token"
    write_run(home, RunInfo("http://127.0.0.1:1", dead.pid, str(token)))
    assert "was killed" in meshgen("status", code=3).stderr
    write_run(home, RunInfo("http://127.0.0.1:1", os.getpid(), str(token)))
    assert "api.token can't be read" in meshgen("status", code=3).stderr
    token.write_text("x")
    assert "nothing listens at http://127.0.0.1:1" in meshgen("status", code=3).stderr


def test_a_node_on_its_way_up_is_waited_for(meshgen: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_up(_: float) -> None:
        write_run(home, RunInfo("http://127.0.0.1:1", os.getpid(), str(home / "api.token")))

    with starting(home):
        monkeypatch.setattr("time.sleep", open_up)
        assert "api.token can't be read" in meshgen("status", code=3).stderr
    with starting(home):
        monkeypatch.setattr("time.sleep", lambda _: None)
        assert f"the node in {home} has not come up in 30 s" in meshgen("status", code=3).stderr
    assert f"no node runs in {home}" in meshgen("status", code=3).stderr
    write_run(home, RunInfo("http://127.0.0.1:1", os.getppid(), "x"))
    with starting(home):
        assert "x can't be read" in meshgen("status", code=3).stderr, "another node's file was overwritten"


def test_a_home_given_at_either_place_counts(meshgen: Cli, tmp_path: Path) -> None:
    for words in (("--home", "other", "status"), ("status", "--home", "other")):
        assert f"no node runs in {tmp_path / 'other'}" in meshgen(*words, code=3).stderr


# -- usage


def test_help_lists_every_verb_as_it_is() -> None:
    for name, line in VERBS.items():
        command = main.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None and command.name == name
        assert (command.help or "").strip(), name
        assert line


@pytest.mark.parametrize(
    "words", ["stauts", "--nope", "status extra", "status --nope", "jobs --json --nope", "credit", "credit blance"]
)
def test_wrong_usage_is_exit_2(meshgen: Cli, words: str) -> None:
    meshgen(*words.split(), code=2)


def test_a_misspelt_verb_suggests_the_right_one(meshgen: Cli) -> None:
    assert "did you mean 'status'?" in meshgen("stauts", code=2).stderr


def test_a_fault_of_the_program_is_two_lines_unless_debugged(meshgen: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(home: Path) -> None:
        raise ZeroDivisionError("of course")

    monkeypatch.setattr("meshgen.cli.awaiting.read_run", stumble)
    assert "meshgen stumbled: ZeroDivisionError: of course" in meshgen("status", code=1).stderr
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "status"])


def test_a_full_disk_is_no_fault_of_the_program(meshgen: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(home: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(home / "x.json"))

    monkeypatch.setattr("meshgen.cli.awaiting.read_run", full)
    said = meshgen("status", code=1).stderr
    assert said.endswith("x.json can't be written: No space left on device\n") and "stumbled" not in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(meshgen: Cli, shell: str) -> None:
    assert "_MESHGEN_COMPLETE" in meshgen("completion", shell).output
    meshgen("completion", "tcsh", code=2)


def test_completion_offers_verbs() -> None:
    done = process(_MESHGEN_COMPLETE="bash_complete", COMP_WORDS="meshgen st", COMP_CWORD="1")
    assert done.communicate()[0].split() == ["plain,status", "plain,stop"]


# -- pieces


def test_kudos() -> None:
    assert [kudos(value) for value in (0, 1, 999, 1000, 1234567, -1, -1500)] == [
        "0.000",
        "0.001",
        "0.999",
        "1.000",
        "1234.567",
        "-0.001",
        "-1.500",
    ]


def test_tables_align() -> None:
    assert table(("A", "NUMBER"), [("x", 1), ("long", 20)]).splitlines()[1:] == ["x          1", "long      20"]


def test_events_are_parsed_around_comments_and_cuts() -> None:
    lines = [
        b": still here\n",
        b"\n",
        b"id: 4\n",
        b"event: note\n",
        b'data: {"text": "a: b"}\n',
        b"\n",
        b"id: 5\n",
        b"event: end\n",
    ]
    assert list(_parse(lines)) == [Event("4", "note", {"text": "a: b"})]


def make_request() -> object:
    from meshgen.peers.request import ImageRequest

    return ImageRequest(prompt="x", count=2)
