"""From nothing to a picture on a second machine, by the very lines of the README."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from meshgen.cli import main
from meshgen.cli.client import Api, NotRunning
from meshgen.cli.local_mesh import LocalMesh, local_mesh, wait_for
from meshgen.protocols.invite import Invite, read_line

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text().split("## Join a mesh\n")[1].split("\n## ")[0]
INVITE, JOIN = (
    [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    for block in re.findall(r"```console\n(.*?)```", SECTION, re.S)[1:3]
)
ON_LOOPBACK = {"MESHGEN_MESH__LISTEN": "/ip4/127.0.0.1/tcp/0", "MESHGEN_API__PORT": "0", "MESHGEN_NODE__ROLES": "requester"}


def keystrokes(lines: list[str]) -> int:
    """Each character, Enter, and one for what is pasted."""
    return sum(len(re.sub(r"MESHGEN:\S+", "v", line)) + 1 for line in lines)


def test_the_readme_counts_right() -> None:
    install = next(line for line in SECTION.splitlines() if line.startswith("$ pip"))[2:].partition("#")[0].strip()
    ((joining, installing),) = re.findall(r"(\d+) keystrokes after the install's (\d+)", SECTION)
    assert (keystrokes(JOIN), keystrokes([install])) == (int(joining), int(installing))


class Machine:
    """A home with a shell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.running: list[subprocess.Popen[str]] = []
        folder.mkdir()

    def type(self, line: str, code: int = 0) -> str:
        """As typed into a shell; what ends in & goes on in the background."""
        meshgen, *words = shlex.split(line.removesuffix("&"))
        assert meshgen == "meshgen"
        given = {name: value for name, value in os.environ.items() if not name.startswith("MESHGEN_")}
        with (self.folder / "errors.log").open("a") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "meshgen.cli", *words],
                env=given | ON_LOOPBACK | {"MESHGEN_HOME": str(self.home), "PYTHONPATH": str(ROOT)},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=errors if line.endswith("&") else subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        if line.endswith("&"):
            self.running.append(process)
            return ""
        out, _ = process.communicate(timeout=60)
        assert process.returncode == code, (line, out, self.errors)
        return out

    @property
    def errors(self) -> str:
        return (self.folder / "errors.log").read_text()

    def ready(self) -> bool:
        try:
            return bool(Api.of(self.home).get("/v1/models")["mesh"])
        except NotRunning:
            return False

    def close(self) -> None:
        for process in self.running:
            process.terminate()
            process.wait(20)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "second")
    yield made
    made.close()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """A private mesh of one node that draws."""
    root = tmp_path_factory.mktemp("first")
    called(root / "worker", "mesh", "create", "ours", "--private", "--out", str(root / "charter.yaml"))
    with local_mesh(root, charter="ours") as mesh:
        mesh.start("worker", "worker", worker__engine="fake", worker__fake_seconds=0.1, node__log_level="debug")
        yield mesh


def invited(first: LocalMesh) -> str:
    (line,) = INVITE
    return called(first.nodes["worker"].home, *shlex.split(line)[1:]).strip()


def called(home: Path, *words: str) -> str:
    """On the first machine, without a process of its own."""
    done = CliRunner().invoke(main, ["--home", str(home), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_from_an_invite_to_a_picture(first: LocalMesh, machine: Machine) -> None:
    line = invited(first)
    assert len(line) < 300 and "\n" not in line
    join, run, generate = (re.sub(r"MESHGEN:\S+", line, typed) for typed in JOIN)
    assert "is a member of ours, version 0 (private" in machine.type(join)
    machine.type(run)
    wait_for(machine.ready, "the second machine to know the first", 60)
    picture = Path(machine.type(generate).splitlines()[-1])
    assert picture.parent == machine.folder and picture.read_bytes().startswith(b"\x89PNG")
    its_key_is_where_it_belongs_and_nowhere_else(first, machine, line)
    machine.type("meshgen stop")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        way = "/ip4/127.0.0.1/tcp/{}/p2p/{}".format(silent.getsockname()[1], first.nodes["worker"].peer_id)
        invite = read_line(line)
        also = Invite.to(invite.charter, "", [way, *invite.addresses], invite.psk)
        machine.type(f"meshgen join {also.line} --run &")
        wait_for(machine.ready, "the second machine, joined once more, to know the first", 60)
    shown = psutil.Process(machine.running[-1].pid).cmdline()
    assert "run" in shown and not any("MESHGEN:1" in word for word in shown), "the key is seen by all who are on the machine"


def its_key_is_where_it_belongs_and_nowhere_else(first: LocalMesh, machine: Machine, line: str) -> None:
    file = machine.home / "mesh.key"
    key = file.read_text().split()[-1]
    told = [called(machine.home, *words.split()) for words in ("status --json", "peers --json", "mesh show --json")]
    told += [json.dumps(first.nodes["worker"].api.get(path)) for path in ("/v1/status", "/v1/peers", "/v1/settings")]
    told += [machine.errors, first.nodes["worker"].log]
    assert not [text for text in told if key in text or line in text]
    held = {path for path in machine.home.rglob("*") if path.is_file() and key.encode() in path.read_bytes()}
    assert held == {file} and file.stat().st_mode & 0o777 == 0o600
