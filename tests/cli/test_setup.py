"""Verbs that work on the home: init, run's settings, doctor, models; and what starting costs."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from meshgen.cli import VERBS
from meshgen.cli.config import settings_of
from meshgen.cli.faults import BadHome
from meshgen.home import CONFIG_FILE
from meshgen.identity import KEY_FILE, load_or_create
from meshgen.settings import load_settings
from tests.cli.conftest import ROOT, Running

Cli = Callable[..., Result]
HUB = "/ip4/192.0.2.7/tcp/4711/p2p/12D3KooWQe3GmcX3ewAMpwQWTidu19mRdT11B9F2SkHJob3Qm8pi"


# -- init


def test_init_makes_a_home_that_works(meshgen: Cli, home: Path) -> None:
    said = meshgen("init", "--profile", "gpu-server", "--alias", "rig", "--bootstrap", HUB).output
    peer = load_or_create(home).peer_id
    assert peer in said and "meshgen run" in said
    assert stat.S_IMODE((home / KEY_FILE).stat().st_mode) == 0o600
    settings = load_settings(home / CONFIG_FILE)
    assert settings == load_settings(None, "gpu-server", {"node.alias": "rig", "mesh.bootstrap": [HUB]})


def test_init_takes_any_setting(meshgen: Cli, home: Path) -> None:
    meshgen("init", "--set", "worker.slots = 2", "--set", "node.log_format=json", "--set", "node.roles=hub,archivist")
    settings = load_settings(home / CONFIG_FILE)
    assert (settings.worker.slots, settings.node.log_format, settings.node.roles) == (2, "json", ("hub", "archivist"))
    assert settings == load_settings(
        None, "laptop", {"worker.slots": 2, "node.log_format": "json", "node.roles": ["hub", "archivist"]}
    )


def test_init_overwrites_nothing(meshgen: Cli, home: Path) -> None:
    first = json.loads(meshgen("init", "--json").stdout)
    before = (home / CONFIG_FILE).read_text()
    assert "exists already" in meshgen("init", "--profile", "hub", code=4).stderr
    assert (home / CONFIG_FILE).read_text() == before
    (home / CONFIG_FILE).unlink()
    assert json.loads(meshgen("init", "--profile", "hub", "--json").stdout)["peer_id"] == first["peer_id"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--profile", "labtop"], "did you mean 'laptop'"),
        (["--bootstrap", "192.0.2.7"], "is not a TCP multiaddr"),
        (["--alias", "x" * 33], "node.alias"),
        (["--set", "worker.slot=2"], "did you mean 'slots'"),
    ],
)
def test_init_refuses_before_it_writes(meshgen: Cli, home: Path, words: list[str], says: str) -> None:
    assert says in meshgen("init", *words, code=4).stderr
    assert not home.exists()


def test_init_where_it_may_not(meshgen: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "can't be made" in meshgen("init", "--home", str(tmp_path / "file" / "home"), code=4).stderr


def test_the_package_is_the_command() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "meshgen", "--version"], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.startswith("meshgen ")


# -- run


def test_run_takes_its_settings_from_everywhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / CONFIG_FILE).write_text("profile: laptop\nworker:\n  slots: 2\n")
    settings = settings_of(home, changes=("worker.threads = 3", "mesh.bootstrap=" + HUB))
    assert (settings.worker.slots, settings.worker.threads, settings.mesh.bootstrap) == (2, 3, (HUB,))
    assert settings_of(home, profile="hub").has_role("hub")
    (home / "other.yaml").write_text("worker: {slots: 4}")
    assert settings_of(home, config=str(home / "other.yaml")).worker.slots == 4
    with pytest.raises(BadHome, match=r"worker\.slots"):
        settings_of(home, changes=("worker.slots=0",))


def test_run_explains_bad_settings(meshgen: Cli, home: Path) -> None:
    home.mkdir()
    (home / CONFIG_FILE).write_text("worker:\n  slot: 2\n")
    assert meshgen("run", code=4).stderr == f"{home / CONFIG_FILE}: worker.slot: there is no such key; did you mean 'slots'?\n"
    meshgen("run", "--set", "slots=2", code=2)
    assert "there is no profile" in meshgen("run", "--profile", "nope", code=4).stderr


# -- doctor


def findings(result: Result) -> dict[str, str]:
    return {finding["name"]: finding["level"] for finding in json.loads(result.stdout)["findings"]}


def test_doctor_before_anything_is_there(meshgen: Cli) -> None:
    result = meshgen("doctor", "--json", code=1)
    levels = findings(result)
    assert levels == {"home": "fault", "disk": "ok", "clock": "ok", "python": "ok"}
    text = meshgen("doctor", code=1).output
    assert "meshgen init" in text and "1 fault to mend" in text


def test_doctor_finds_a_healthy_node_healthy(meshgen: Cli, running: Running, home: Path) -> None:
    meshgen("init", "--profile", "observer")
    result = meshgen("doctor", "--json")
    assert json.loads(result.stdout)["ok"] is True
    assert findings(result)["node"] == "ok"


def test_doctor_finds_what_is_wrong(meshgen: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meshgen("init", "--profile", "laptop")
    (home / KEY_FILE).chmod(0o644)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "diffusers" else object())
    monkeypatch.setattr("time.time", lambda: 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as closed:
        port, gone = taken.getsockname()[1], closed.getsockname()[1]
        closed.close()
        away = HUB.replace("192.0.2.7/tcp/4711", f"127.0.0.1/tcp/{gone}")
        mesh = f"mesh: {{listen: [/ip4/127.0.0.1/tcp/0], bootstrap: [{away}]}}"
        config = f"profile: laptop\napi: {{port: {port}}}\n{mesh}\n"
        (home / CONFIG_FILE).write_text(config)
        result = meshgen("doctor", "--json", code=1)
    found = {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}
    assert {name for name, finding in found.items() if finding["level"] == "fault"} == {
        "key",
        "clock",
        "engine",
        "port",
        "hub",
    }
    assert all(finding["cure"] or "chmod" in finding["text"] for finding in found.values() if finding["level"] == "fault")


def test_doctor_shows_a_broken_config(meshgen: Cli, home: Path) -> None:
    meshgen("init")
    (home / CONFIG_FILE).write_text("workr: {}")
    assert "did you mean 'worker'?" in meshgen("doctor", code=1).output


@pytest.mark.parametrize("verb", ["init", "run"])
def test_a_home_that_can_not_be_made_is_said(meshgen: Cli, tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").touch()
    said = meshgen("--home", str(tmp_path / "file" / "home"), verb, code=4).stderr
    assert "can't be made: Not a directory" in said and "--home" in said and "Errno" not in said


# -- what starting costs

SLOW = ("torch", "diffusers", "transformers", "libp2p", "trio", "pydantic", "fastapi", "httpx", "numpy", "PIL", "yaml", "nacl")


@pytest.mark.parametrize(
    "words", ["--help", "status", "peers", "jobs", "models", "credit balance", "generate x", "generate --help", "stop"]
)
def test_client_verbs_import_nothing_slow(words: str) -> None:
    script = f"""
import sys
from meshgen.cli import main
try:
    main({words.split()!r}, prog_name="meshgen")
except SystemExit:
    pass
print([name for name in {SLOW!r} if name in sys.modules], file=sys.stderr)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_the_verbs_modules_exist() -> None:
    files = {path.stem for path in (ROOT / "meshgen" / "cli").glob("*.py")}
    assert set(VERBS) <= files
