"""`meshgen write`, `meshgen alchemy`, and what `meshgen generate` takes beside a prompt."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from meshgen.cli.client import Event
from meshgen.cli.write import Reader
from meshgen.peers.job import Finished, Job
from meshgen.peers.request import ControlWish, FormRequest, ImageRequest, InversionWish, LoraWish, TextRequest
from meshgen.peers.supply import Quote
from tests.cli.conftest import Running, process
from tests.cli.test_generate import all_drawn
from tests.gateway.fake_node import BOB, PNG, SECRET, award

Cli = Callable[..., Result]


def answered(data: bytes, media: str, pieces: tuple[str, ...] = ()) -> Callable[[Job], None]:
    def work(job: Job) -> None:
        award(job)
        for piece in pieces:
            job.emit("piece", index=0, text=piece)
        for index in range(job.request.count):
            job.results[index] = Finished(index, job.seed + index, BOB.peer_id, "bob", data, media, 1234, "cd" * 32, 0.5)
            job.emit("result", media=media, index=index, seed=job.seed, worker=BOB.peer_id, alias="bob", mkudos=1234)
        job.finished_ms = job.created_ms + 2500
        job.enter("done")

    return work


def test_a_text_shows(meshgen: Cli, running: Running) -> None:
    running.node.requester.on_submit = answered(b"there was a fox.", "text/plain", ("there was", " a fox."))
    result = meshgen("write", SECRET, "--tokens", "12", "--stop", "\n\n", "--temperature", "0", "--max-kudos", "2")
    sent = running.node.requester.requests[0]
    assert isinstance(sent, TextRequest)
    assert (sent.prompt, sent.tokens, sent.stops, sent.temperature, sent.max_mkudos) == (SECRET, 12, ("\n\n",), 0, 2000)
    assert result.stdout == "there was a fox.\n"
    assert "bob writes 1 text" in " ".join(result.stderr.split()) and SECRET not in result.output
    told = meshgen("write", SECRET, "--json")
    assert json.loads(told.stdout)["results"][0]["text"] == "there was a fox."
    both = meshgen("write", SECRET, "-n", "2")
    assert both.stdout == "1 of 2, seed 7:\nthere was a fox.\n\n2 of 2, seed 8:\nthere was a fox.\n"


def test_what_was_not_streamed_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Pieces may be lost, or differ from the result, which counts; a line that was streamed whole is not shown again."""
    for pieces, ended, shown in (
        (["there ", "was."], True, "there was.\n"),
        (["there "], False, "there was.\n"),
        ([], True, "there was.\n"),
        (["there "], True, "there \nthere was.\n"),
        (["then "], False, "then \nthere was.\n"),
    ):
        reader = Reader()
        for piece in pieces:
            reader.hear(Event("1", "piece", {"index": 0, "text": piece}))
        if ended:
            reader.hear(Event("2", "result", {"index": 0}))
        reader.finish("there was.")
        assert capsys.readouterr().out == shown


def test_a_text_that_begins_anew_begins_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    reader = Reader()
    for event in (
        Event("1", "piece", {"index": 0, "text": "once u"}),
        Event("2", "note", {"text": "bob went away"}),
        Event("3", "part", {"state": "awarded"}),
        Event("4", "piece", {"index": 0, "text": "there "}),
        Event("5", "note", {"text": "bob went away"}),
        Event("6", "part", {"state": "awarded"}),
        Event("7", "piece", {"index": 0, "text": "there "}),
        Event("", "interrupted", {}),
    ):
        reader.hear(event)
    reader.finish("")
    assert capsys.readouterr().out == "once u\nthere \nthere \n"
    reader.finish("there was.")
    assert capsys.readouterr().out == "there was.\n"


def test_a_text_whose_worker_is_late_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    reader = Reader()
    for event in (
        Event("1", "part", {"state": "awarded"}),
        Event("2", "piece", {"index": 0, "text": "there "}),
        Event("3", "note", {"text": "bob is late; what it has not brought is offered again, to others"}),
        Event("4", "piece", {"index": 0, "text": "was."}),
        Event("5", "result", {"index": 0}),
    ):
        reader.hear(event)
    reader.finish("there was.")
    assert capsys.readouterr().out == "there \nwas.\n"


def test_options_of_a_text_become_the_request(meshgen: Cli, running: Running) -> None:
    running.node.requester.on_submit = answered(b"x", "text/plain")
    words = "--context 9 --min-p 0.1 --repetition-penalty 1.2 --top-k 3 --top-p 0.5 --nsfw --timeout 9"
    meshgen("write", "once", "upon", "time", *words.split())
    sent = running.node.requester.requests[0]
    assert isinstance(sent, TextRequest) and sent.prompt == "once upon time"
    assert (sent.context, sent.min_p, sent.repetition_penalty, sent.top_k, sent.top_p) == (9, 0.1, 1.2, 3, 0.5)
    assert (sent.nsfw, sent.timeout_s) == (True, 9.0)
    assert "say what to go on with" in meshgen("write", "", code=1).stderr


def test_dry_runs_ask_nobody(meshgen: Cli, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.png").write_bytes(PNG)
    quote = Quote("sd15", 512, 512, 0, 1, False, 9160, 30_000, (), own=False)
    monkeypatch.setattr(running.node.requester, "quote", lambda _: quote)
    said = meshgen("write", SECRET, "--tokens", "9", "--dry-run", "--max-kudos", "30").stdout.splitlines()
    assert said[0] == "1 text of at most 9 tokens by sd15" and said[2] == "at most:       30.000 kudos (--max-kudos sets it)"
    assert "nsfw of a picture of 512x512" in meshgen("alchemy", "nsfw", "in.png", "--dry-run").stdout
    assert json.loads(meshgen("alchemy", "nsfw", "in.png", "--dry-run", "--json").stdout)["tariff_mkudos"] == 9160
    assert not running.node.requester.requests


def test_ctrl_c_shows_what_has_arrived_of_a_text(running: Running) -> None:
    started = threading.Event()

    def begin(job: Job) -> None:
        award(job)
        arrive(job, 0)
        started.set()

    def end(job: Job) -> None:
        arrive(job, 1)  # was on its way
        job.enter("cancelled")

    running.node.requester.on_submit, running.node.requester.on_cancel = begin, end
    called = process("write", "x", "-n", "3")
    assert started.wait(30) and called.stderr is not None
    while "text 1 of 3" not in (line := called.stderr.readline()):
        assert line, "it ended early"
    called.send_signal(signal.SIGINT)
    shown, said = called.communicate(timeout=30)
    assert (called.returncode, said.splitlines()[-1]) == (130, "cancelled; 2 of 3 texts had arrived")
    assert shown == "1 of 3, seed 7:\na fox\n\n2 of 3, seed 8:\na fox\n" and "Traceback" not in said


def test_ctrl_c_in_alchemy(running: Running, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(PNG)
    started = threading.Event()
    running.node.requester.on_submit = lambda job: (award(job), started.set())[0]
    running.node.requester.on_cancel = lambda job: job.enter("cancelled")
    called = process("alchemy", "nsfw", str(tmp_path / "in.png"))
    assert started.wait(30) and called.stderr is not None
    while "bob does" not in (line := called.stderr.readline()):
        assert line, "it ended early"
    called.send_signal(signal.SIGINT)
    shown, said = called.communicate(timeout=30)
    assert (called.returncode, shown, said.splitlines()[-1]) == (130, "", "cancelled; 0 of 1 answer had arrived")


def arrive(job: Job, index: int) -> None:
    job.results[index] = Finished(index, job.seed + index, BOB.peer_id, "bob", b"a fox", "text/plain", 1234, "cd" * 32, 0.5)
    job.emit("result", media="text/plain", index=index, seed=job.seed, worker=BOB.peer_id, alias="bob", mkudos=1234)


def test_control_characters_of_a_stranger_stay_out(meshgen: Cli, running: Running) -> None:
    running.node.requester.on_submit = answered(b"a\x1b[31m\rb", "text/plain")
    assert meshgen("write", SECRET).stdout == "a[31mb\n"


def test_a_form_finds_something(meshgen: Cli, running: Running, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(PNG)
    running.node.requester.on_submit = answered(b'{"nsfw": false}', "application/json")
    result = meshgen("alchemy", "nsfw", str(tmp_path / "in.png"))
    assert json.loads(result.stdout) == {"nsfw": False} and "for 1.234 kudos" in result.stderr
    sent = running.node.requester.requests[0]
    assert isinstance(sent, FormRequest) and (sent.model, sent.source) == ("nsfw", PNG)
    running.node.requester.on_submit = answered(PNG, "image/png")
    saved = meshgen("alchemy", "RealESRGAN_x4plus", str(tmp_path / "in.png"), "--out", str(tmp_path / "big.png"))
    assert saved.stdout.strip() == str(tmp_path / "big.png") and (tmp_path / "big.png").read_bytes() == PNG


def test_what_goes_along_with_a_prompt(meshgen: Cli, running: Running, tmp_path: Path) -> None:
    running.node.requester.on_submit = all_drawn
    for name in ("source", "mask", "pose"):
        (tmp_path / f"{name}.png").write_bytes(PNG + name.encode())
    files = ["--source", "source.png", "--mask", "mask.png", "--control-image", "pose.png"]
    adapters = ["--lora", "pencil:-0.8:0.5", "--lora", "ink", "--control", "canny:0.7", "--post", "RealESRGAN_x4plus"]
    flags = ["--strength", "0.4", "--clip-skip", "2", "--tiling", "--hires-fix", "--control-map", "--nsfw"]
    flags += ["--inversion", "bad", "--inversion", "worse:0.5@negative", "--inversion", "good@prompt"]
    meshgen("generate", SECRET, *files, *adapters, *flags)
    sent = running.node.requester.requests[0]
    assert isinstance(sent, ImageRequest) and sent.control == ControlWish("canny", PNG + b"pose", 0.7, True, False)
    assert (sent.source, sent.mask, sent.strength, sent.clip_skip) == (PNG + b"source", PNG + b"mask", 0.4, 2)
    assert sent.loras == (LoraWish("pencil", -0.8, 0.5), LoraWish("ink"))
    assert (sent.tiling, sent.hires_fix, sent.nsfw, sent.post) == (True, True, True, ("RealESRGAN_x4plus",))
    wishes = InversionWish("bad"), InversionWish("worse", "negative_prompt", 0.5), InversionWish("good", "prompt")
    assert sent.inversions == wishes


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--source", "nowhere.png"], 1, "nowhere.png can't be read"),
        (["--source", "empty.png"], 1, "empty.png can't be used: it is empty"),
        (["--mask", "notes.txt"], 1, "notes.txt can't be used: it is no PNG, JPEG or WebP picture"),
        (["--control-image", "."], 2, "is a directory"),
        (["--inversion", "bad@middle"], 2, "behind the @ goes prompt or negative"),
        (["--inversion", "@prompt"], 2, "is not NAME"),
        (["--scheduler", "k_eulr"], 1, "did you mean 'k_euler'?"),
        (["--scheduler", "ddim_karras"], 1, "has no Karras sigmas"),
        (["--lora", "pencil:thick"], 2, "a weight is a number"),
        (["--lora", "a:1:2:3"], 2, "is not NAME[:WEIGHT]"),
        (["--control", "canny"], 1, "--control needs a picture to follow"),
        (["--strength", "0.3"], 1, "give --source too"),
        (["--return-map"], 1, "give --control too"),
        (["--lora", "pencil:9"], 1, "less than or equal to 5"),
    ],
)
def test_what_can_not_go_along_is_said(
    meshgen: Cli, running: Running, tmp_path: Path, words: list[str], code: int, why: str
) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("a note")
    result = meshgen("generate", SECRET, *words, code=code)
    assert why in " ".join(result.output.split()) and SECRET not in result.output
    assert not running.node.requester.requests
