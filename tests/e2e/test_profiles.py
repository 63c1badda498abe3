"""Every ready-made profile boots and is what it says."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from meshgen.cli.client import Api, NotRunning
from meshgen.cli.local_mesh import wait_for

PROFILES = {path.stem: yaml.safe_load(path.read_text()) for path in (Path(__file__).parents[2] / "peers").glob("*.yaml")}
LOCAL = ("mesh.listen=/ip4/127.0.0.1/tcp/0", "api.port=0", "mesh.charter=profiles")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A node of each profile, started together; all end cleanly when asked to."""
    root = tmp_path_factory.mktemp("profiles")
    nodes = {name: start(root / name, name) for name in PROFILES}
    try:
        for name, node in nodes.items():
            wait_for(lambda name=name, node=node: ready(root / name, node), f"{name} to start", 60)  # type: ignore[misc]
        yield {name: root / name for name in PROFILES}
        for node in nodes.values():
            node.send_signal(signal.SIGTERM)
        assert {name: node.wait(15) for name, node in nodes.items()} == dict.fromkeys(PROFILES, 0)
    finally:
        for node in nodes.values():
            node.kill()


def start(home: Path, profile: str) -> subprocess.Popen[bytes]:
    home.mkdir()
    sets = [word for setting in LOCAL for word in ("--set", setting)]
    command = [sys.executable, "-m", "meshgen.cli", "run", "--home", str(home), "--profile", profile, *sets]
    with (home / "node.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def ready(home: Path, node: subprocess.Popen[bytes]) -> bool:
    assert node.poll() is None, (home / "node.log").read_text()
    try:
        return bool(Api.of(home).get("/v1/status"))
    except NotRunning:
        return False


def test_there_are_profiles() -> None:
    assert PROFILES.keys() == {"laptop", "gpu-server", "hub", "observer"}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_boots(name: str, homes: dict[str, Path]) -> None:
    wanted = PROFILES[name]["node"]["roles"]
    status = Api.of(homes[name]).get("/v1/status")
    log = (homes[name] / "node.log").read_text()
    assert status["roles"] == wanted
    assert "Traceback" not in log
    if "worker" not in wanted:
        assert status["worker"] is None
    elif importlib.util.find_spec("torch") is None:
        assert status["worker"] is None
        assert "can't be a worker" in log, "it goes on without, and says so"
    else:
        assert status["worker"]["device"]
    asked = Api.of(homes[name])
    if "requester" in wanted:
        assert asked.get("/v1/jobs") == {"jobs": []}
