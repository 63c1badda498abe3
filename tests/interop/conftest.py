"""A mesh of real Python nodes, and peers in JavaScript: the modules of ``js`` with what npm installs, kept in pytest's cache."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from meshgen.cli import main
from meshgen.cli.local_mesh import LocalMesh, LocalNode, local_mesh, wait_for

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
JS = HERE / "js"
LOCK = "package-lock.json"
NODE = shutil.which("node")
CHARTER = "meshgen-interop-v0"
INSTALL_S, RUN_S = 180, 60
PICTURE_S = 0.2

Facts = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def scripts(request: pytest.FixtureRequest) -> Path:
    """Where the modules lie with their packages; the way from there to ``protocols`` is the repository's."""
    if NODE is None:
        pytest.skip("there is no `node` (Node.js, 20 or later) to run a peer in JavaScript")
    assert request.config.cache is not None
    root = Path(request.config.cache.mkdir("interop"))
    folder = root / JS.relative_to(ROOT)
    lock = (JS / LOCK).read_bytes()
    if not (folder / "node_modules").exists() or (folder / LOCK).read_bytes() != lock:
        _install(root, folder)
    for module in JS.glob("*.js"):
        shutil.copy(module, folder)
    return folder


def _install(root: Path, folder: Path) -> None:
    npm = shutil.which("npm") or pytest.skip("there is no `npm` to fetch js-libp2p with")
    shutil.rmtree(root, ignore_errors=True)
    folder.mkdir(parents=True)
    (root / "protocols").symlink_to(ROOT / "protocols")
    for name in ("package.json", LOCK):
        shutil.copy(JS / name, folder)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        subprocess.run(command, cwd=folder, capture_output=True, timeout=INSTALL_S, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"js-libp2p can't be fetched: {type(error).__name__}")


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """A hub that keeps all logs; Wanda, who draws; Ada, who asks."""
    with local_mesh(tmp_path_factory.mktemp("interop"), CHARTER) as mesh:
        hub = mesh.start("hub", "hub", "archivist", mesh__relay="on")
        wanda = mesh.launch("wanda", "worker", through=hub, worker__engine="fake", worker__fake_seconds=PICTURE_S)
        mesh.await_ready(wanda, mesh.launch("ada", "requester", through=hub))
        wait_for(lambda: bool(hub.api.get("/v1/models")["mesh"]), "the hub to know Wanda", 30)
        yield mesh


def meshgen(home: Path, *words: str) -> str:
    done = CliRunner().invoke(main, ["--home", str(home), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


@dataclass
class Script:
    """A peer's process. It tells what it does, a line a step, and goes on until its input ends."""

    process: subprocess.Popen[str]

    def steps(self) -> Iterator[Facts]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def until(self, step: str) -> list[Facts]:
        """All that it tells up to a step of this name. Fails if it ends before."""
        told: list[Facts] = []
        for facts in self.steps():
            told.append(facts)
            if facts["step"] == step:
                return told
        raise AssertionError(f"it ended without {step!r}: {[facts['step'] for facts in told]}")


@pytest.fixture
def run(scripts: Path) -> Iterator[Callable[..., Script]]:
    """Start one of the scripts as a peer that is invited by a node; a test has a minute for all of it."""
    started: list[subprocess.Popen[str]] = []

    def start(host: LocalNode, name: str, *words: str) -> Script:
        line = json.loads(meshgen(host.home, "mesh", "invite", "--json"))["line"]
        command = ["timeout", str(RUN_S), str(NODE), name, line, *words]
        process = subprocess.Popen(command, cwd=scripts, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return Script(process)

    yield start
    for process in started:
        process.communicate(timeout=RUN_S)
