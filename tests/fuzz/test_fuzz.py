"""A short run over every decoder in each test run; ``make fuzz`` is the long one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from meshgen.protocols.codec import Limits, decode
from tests.conformance.vectors import FOLDER
from tests.fuzz.blind import fuzz
from tests.fuzz.target import Target
from tests.fuzz.targets import targets

SEED = 20260914
BLIND_RUNS = 1500
GUIDED_RUNS = 20_000

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed (it is made for Linux and Python up to 3.13)"
)

_PLANTED = """
import sys
from tests.fuzz import guided
from tests.fuzz.target import Target

@guided.atheris.instrument_func
def run(data):
    if data[:3] == b"bug":
        raise KeyError("planted")

guided.targets = lambda: {"planted": Target("planted", run, (b"bu",))}
guided.main()
"""


def guided(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "tests.fuzz.guided"]
    command = [sys.executable, *start, *arguments, f"-seed={SEED}"]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


@pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
def test_nothing_but_the_documented_error_comes_out(target: Target) -> None:
    find = fuzz(target, SEED, BLIND_RUNS // (10 if target.slow else 1))
    assert find is None, f"seed {SEED}: {find}"


@pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
def test_each_target_starts_from_good_bytes_too(target: Target) -> None:
    assert any(target.survives(seed) for seed in target.seeds)


def test_every_vector_is_a_seed() -> None:
    seeds = {seed for target in targets().values() for seed in target.seeds}
    assert len(seeds) > 500
    assert {path.parent.parent.parent.name for path in FOLDER.glob("*/vectors/valid/*.json")} <= {
        name.split("/")[0] for name in targets()
    }


@needs_atheris
def test_a_short_run_by_coverage_finds_nothing() -> None:
    done = guided("all", f"-runs={GUIDED_RUNS}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {GUIDED_RUNS} runs" in done.stderr


def test_what_is_planted_is_found_blindly() -> None:
    def careless(data: bytes) -> object:
        value = decode(data, Limits(max_bytes=4096))
        if isinstance(value, tuple) and len(value) == 14:  # seeds have 15 and 16 items
            raise IndexError("planted")
        return value

    good = targets()["codec/ascii"].seeds
    find = fuzz(Target("careless", careless, good), SEED, BLIND_RUNS)
    assert find is not None
    assert isinstance(find.error, IndexError)
    assert str(find) == str(fuzz(Target("careless", careless, good), SEED, BLIND_RUNS)), "the same seed finds the same"


@needs_atheris
def test_what_is_planted_is_found_by_coverage(tmp_path: Path) -> None:
    done = guided("planted", "-runs=200000", f"-artifact_prefix={tmp_path}/", code=_PLANTED)
    assert done.returncode != 0
    assert "KeyError: 'planted'" in done.stderr + done.stdout
    assert [path.read_bytes()[:3] for path in tmp_path.iterdir()] == [b"bug"]
