"""`meshgen generate`: what is sent, what is saved, what is said, how it ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from meshgen.cli.faults import Fault
from meshgen.cli.saving import Saver
from meshgen.peers.job import Job
from tests.cli.conftest import Running, process
from tests.gateway.fake_node import PNG, SECRET, award, draw

Cli = Callable[..., Result]


def all_drawn(job: Job) -> None:
    job.note("looking for workers")
    award(job)
    for index in range(job.request.count):
        job.emit("progress", index=index, step=20, steps=20, alias="bob")
        draw(job, index)
    job.finished_ms = job.created_ms + 2500
    job.enter("done")


def test_pictures_are_saved_and_told(meshgen: Cli, running: Running, tmp_path: Path) -> None:
    running.node.requester.on_submit = all_drawn
    result = meshgen("generate", SECRET, "-n", "2", "--out", "pics")
    assert [path.name for path in sorted((tmp_path / "pics").iterdir())] == ["sd15-7.png", "sd15-8.png"]
    assert (tmp_path / "pics" / "sd15-7.png").read_bytes() == PNG
    assert result.stdout.splitlines() == [
        str(tmp_path / "pics" / "sd15-7.png"),
        str(tmp_path / "pics" / "sd15-8.png"),
    ]
    said = " ".join(result.stderr.split())
    assert "looking for workers" in said
    assert "bob draws 2 pictures for 1.234 kudos each" in said
    assert "picture 1 of 2 by bob for 1.234 kudos" in said
    assert said.endswith("2 pictures in 2.5 s for 2.468 kudos")
    assert SECRET not in result.output


def test_options_become_the_request(meshgen: Cli, running: Running) -> None:
    running.node.requester.on_submit = all_drawn
    what = "--negative blur --model m --size 512x768 --steps 9 --seed 5 --guidance 3.5 --scheduler DDIM"
    meshgen("generate", SECRET, *what.split(), *["--n", "3", "--private", "--max-kudos", "1.5", "--timeout", "60"])
    sent = running.node.requester.requests[0]
    assert (sent.prompt, sent.negative_prompt, sent.model, sent.width, sent.height) == (SECRET, "blur", "m", 512, 768)
    assert (sent.steps, sent.seed, sent.guidance_scale, sent.scheduler, sent.count) == (9, 5, 3.5, "DDIM", 3)
    assert (sent.private, sent.max_mkudos, sent.timeout_s) == (True, 1500, 60.0)


def test_a_prompt_from_standard_input_is_in_no_process_list(meshgen: Cli, running: Running) -> None:
    running.node.requester.on_submit = all_drawn
    meshgen("generate", "-", stdin=f"{SECRET}\n")
    assert running.node.requester.requests[0].prompt == SECRET


def test_json_is_one_document(meshgen: Cli, running: Running, tmp_path: Path) -> None:
    running.node.requester.on_submit = all_drawn
    found = json.loads(meshgen("generate", "x", "--json").stdout)
    assert (found["state"], found["mkudos"]) == ("done", 1234)
    assert found["results"][0]["file"] == str(tmp_path / "sd15-7.png")
    assert found["results"][0]["receipt"] == "cd" * 32


def test_a_failed_job_says_why_and_keeps_what_came(meshgen: Cli, running: Running, tmp_path: Path) -> None:
    def half(job: Job) -> None:
        award(job)
        draw(job, 0)
        job.enter("failed", "3 workers know the model, all are full")

    running.node.requester.on_submit = half
    result = meshgen("generate", "x", "-n", "2", code=1)
    assert result.stderr.splitlines()[-1] == "failed: 3 workers know the model, all are full"
    assert (tmp_path / "sd15-7.png").exists()


def test_a_node_that_is_alone_is_told_so(meshgen: Cli, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.node.requester.on_submit = lambda job: job.enter("failed", "no worker in the mesh offers any model")
    told = running.node.status()
    monkeypatch.setattr(running.node, "status", lambda: told | {"connected": 0})
    said = meshgen("generate", "x", code=1).stderr.splitlines()
    assert said[-2:] == [
        "failed: no worker in the mesh offers any model",
        "this node is connected to nobody: `meshgen doctor` says more",
    ]
    assert json.loads(meshgen("generate", "x", "-n", "2", "--json", code=1).stdout)["state"] == "failed"


@pytest.mark.parametrize(
    "words",
    [
        "--size 512",
        "--size 512x",
        "--size axb",
        "--size 3x3",
        "--size 0x512",
        "--size 511x512",
        "--size 8200x512",
        "--steps 0",
        "--n 0",
        "--n 65",
        "--seed -1",
        "--guidance x",
        "--max-kudos -1",
        "--timeout 0",
    ],
)
def test_wrong_options_are_usage(meshgen: Cli, running: Running, words: str) -> None:
    meshgen("generate", "x", *words.split(), code=2)
    assert not running.node.requester.requests


def test_what_the_node_refuses_is_said(meshgen: Cli, running: Running) -> None:
    assert "should have at most 8000 characters" in meshgen("generate", "x" * 8001, code=1).stderr


def test_the_words_of_a_prompt_need_no_quotes(meshgen: Cli, running: Running) -> None:
    running.node.requester.on_submit = all_drawn
    meshgen("generate", "a", "red", "fox", "--steps", "3")
    assert (running.node.requester.requests[0].prompt, running.node.requester.requests[0].steps) == ("a red fox", 3)
    for words in (["a red fox", "512x512"], ["a", "red fox"], ["a", ""]):
        assert "more than one prompt" in " ".join(meshgen("generate", *words, code=2).output.split())
    for words in ([""], [" "], ["-"]):
        assert "say what to draw" in meshgen("generate", *words, code=1, stdin="\n").stderr
    assert len(running.node.requester.requests) == 1


def test_ctrl_c_cancels_the_job_and_keeps_what_came(running: Running, tmp_path: Path) -> None:
    started = threading.Event()

    def begin(job: Job) -> None:
        award(job)
        draw(job, 0)
        started.set()

    def end(job: Job) -> None:
        draw(job, 1)  # was on its way
        job.enter("cancelled")

    running.node.requester.on_submit, running.node.requester.on_cancel = begin, end
    called = process("generate", "x", "-n", "2", "--out", "pics")
    assert started.wait(30)
    assert called.stderr is not None
    while "picture 1 of 2" not in (line := called.stderr.readline()):
        assert line, "it ended early"
    called.send_signal(signal.SIGINT)
    shown, said = called.communicate(timeout=30)
    assert (called.returncode, said.splitlines()[-1]) == (130, "cancelled; 2 of 2 pictures had arrived and are saved")
    assert len(list((tmp_path / "pics").iterdir())) == len(shown.splitlines()) == 2


def test_a_node_that_goes_away_ends_the_waiting(running: Running) -> None:
    running.node.requester.on_submit = lambda job: draw(job, 0)
    called = process("generate", "x", "-n", "2")
    assert called.stderr is not None
    while "picture 1 of 2" not in (line := called.stderr.readline()):
        assert line, "it ended early"
    running.stop()
    _, said = called.communicate(timeout=60)
    assert called.returncode == 3 and "what had not arrived is lost" in said and "Traceback" not in said


# -- saving


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for expected in ("m-1.png", "m-1-2.png", "m-1-3.png"):
        assert Saver(tmp_path, 1).save(0, "m", 1, PNG).name == expected


def test_file_names(tmp_path: Path) -> None:
    assert Saver(tmp_path, 1).save(0, "../a b/ü:x", 1, PNG) == tmp_path / "a-b-x-1.png"
    assert Saver(tmp_path, 1).save(0, "...", 1, PNG) == tmp_path / "picture-1.png"
    assert Saver(tmp_path / "new" / "one.png", 1).save(0, "m", 1, PNG) == tmp_path / "new" / "one.png"
    many = Saver(tmp_path / "cat.PNG", 2)
    assert [many.save(index, "m", 1, PNG).name for index in (0, 1)] == ["cat-1.png", "cat-2.png"]


def test_places_that_do_not_work(meshgen: Cli, running: Running, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file, not a folder" in meshgen("generate", "x", "--out", "file", code=1).stderr
    assert "can't be made" in meshgen("generate", "x", "--out", "file/more", code=1).stderr
    assert not running.node.requester.requests


# -- prices


def test_a_dry_run_says_the_price_and_asks_nobody(meshgen: Cli, running: Running, tmp_path: Path) -> None:
    said = meshgen("generate", SECRET, "-n", "2", "--dry-run", "--max-kudos", "10").output
    assert said.splitlines() == [
        "2 pictures of 512x512 in 20 steps by sd15",
        "by the tariff: 18.320 kudos",
        "at most:       20.000 kudos (10.000 each; --max-kudos sets it)",
        "2 workers ask the tariff",
        "1 worker asks 18.320 kudos each, which is more than that",
        "nobody was asked anything",
    ]
    assert json.loads(meshgen("generate", "x", "--dry-run", "--share", "--json").stdout)["shared"] is True
    assert not running.node.requester.requests and not list(tmp_path.glob("**/*.png"))
    assert "no worker is known yet" in meshgen("generate", "x", "--dry-run", "--model", "unknown", code=1).stderr


def test_sharing_is_asked_for_or_left_to_the_settings(meshgen: Cli, running: Running) -> None:
    running.node.requester.on_submit = all_drawn
    for words in ([], ["--share"], ["--no-share"]):
        meshgen("generate", "x", *words)
    assert [request.shared for request in running.node.requester.requests] == [None, True, False]


def test_what_could_not_be_saved_is_saved_later(
    meshgen: Cli, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.node.requester.on_submit = all_drawn
    whole = Path.open

    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path: Path, mode: str = "r", *given: Any, **more: Any) -> Any:
        whole(path, mode, *given, **more).close()
        return Full()

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", opened)
        with pytest.raises(Fault, match="No space left on device") as caught:
            Saver(tmp_path / "pics", 1).save(0, "m", 1, PNG)
    assert "jobs save ID" in caught.value.hint and not list((tmp_path / "pics").iterdir())
    meshgen("generate", "x", "-n", "2", "--out", "first")
    job_id = next(iter(running.node.requester.jobs))
    saved = meshgen("jobs", "save", job_id, "--out", "again").stdout.split()
    assert [Path(file).read_bytes() for file in saved] == [PNG, PNG] and Path(saved[0]).parent == tmp_path / "again"
    assert "there is no job" in meshgen("jobs", "save", "nothing", code=1).stderr
    meshgen("jobs", "save", code=2)
    running.node.requester.on_submit = lambda job: job.enter("failed", "nobody was there")
    meshgen("generate", "x", code=1)
    assert "nobody was there" in meshgen("jobs", "save", list(running.node.requester.jobs)[-1], code=1).stderr
