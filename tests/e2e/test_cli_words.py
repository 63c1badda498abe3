"""``meshgen generate`` in front of a live mesh: files, words and exit codes as a person or a script gets them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshgen.cli.local_mesh import wait_for
from meshgen.pictures import check_png, text_of
from tests.e2e.conftest import Town


def command(town: Town, *words: str) -> list[str]:
    return [sys.executable, "-m", "meshgen.cli", "generate", "--home", str(town.node("requester").home), *words]


def generate(town: Town, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(town, *words), input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_pictures_are_saved(town: Town, tmp_path: Path) -> None:
    done = generate(town, "a lighthouse", "--n", "3", "--seed", "7", "--size", "128x64", "--steps", "3", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.splitlines()]
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["fake-7.png", "fake-8.png", "fake-9.png"]
    for path in files:
        check_png(path.read_bytes(), 128, 64)
        assert text_of(path.read_bytes())["parameters"].startswith("a lighthouse\nSteps: 3")
    assert "3 pictures in" in done.stderr
    assert "kudos" in done.stderr


def test_json_and_a_prompt_from_standard_input(town: Town, tmp_path: Path) -> None:
    done = generate(town, "-", "--json", "--private", "--out", str(tmp_path / "one.png"), stdin="a secret lighthouse\n")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["state"] == "done"
    assert [row["file"] for row in said["results"]] == [str(tmp_path / "one.png")]
    assert b"secret" not in (tmp_path / "one.png").read_bytes()
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--size", "4096x4096"], "at most 1024x1024 pixels"),
        (["--model", "dall-e"], "no worker in the mesh offers the model 'dall-e'"),
        (["--steps", "500"], "at most 100 steps"),
        (["--max-kudos", "0.001"], "at least"),
    ],
)
def test_what_nobody_can_do_is_said(town: Town, tmp_path: Path, words: list[str], told: str) -> None:
    done = generate(town, "a lighthouse", *words, "--out", str(tmp_path))
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage(town: Town) -> None:
    for option, value, told in (("--steps", "many", "--steps"), ("--size", "100x100", "multiple of 8")):
        done = generate(town, "a lighthouse", option, value)
        assert done.returncode == 2
        assert option in done.stderr and told in done.stderr


def test_no_node(town: Town, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "meshgen.cli", "--home", str(tmp_path / "none"), "generate", "a lighthouse"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "no node runs" in done.stderr
    assert "meshgen init" in done.stderr


def test_a_node_that_only_watches_says_so(town: Town, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "meshgen.cli", "--home", str(town.node("hub").home), "generate", "a lighthouse"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "asks for nothing" in done.stderr


def test_ctrl_c_cancels_and_keeps_what_came(town: Town, tmp_path: Path) -> None:
    """The job's parts are settled first, so what had arrived is paid, and saved."""
    words = command(town, "a lighthouse", "--n", "16", "--out", str(tmp_path))
    before = town.requester.get("/v1/credit/balance")["balance_mkudos"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        jobs = lambda: town.requester.get("/v1/jobs")["jobs"]  # noqa: E731
        wait_for(lambda: jobs()[0]["count"] == 16, "the job to begin", 20)
        town.await_event(jobs()[0]["id"], "arrived")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    job = jobs()[0]
    assert job["state"] == "cancelled"
    assert f"{len(job['results'])} of 16 pictures had arrived" in err
    assert len(list(tmp_path.iterdir())) == len(job["results"])
    assert 1 <= len(job["results"]) < 16
    assert before - town.requester.get("/v1/credit/balance")["balance_mkudos"] == job["mkudos"]
