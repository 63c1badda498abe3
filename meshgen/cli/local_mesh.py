"""Several nodes as processes on this machine, over loopback TCP: for ``meshgen demo``, the end-to-end tests, the benchmark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from meshgen.cli.client import Api, NotRunning
from meshgen.cli.faults import Fault

START_S = 60.0
STOP_S = 10.0
POLL_S = 0.05
LOG_FILE = "node.log"


@dataclass(slots=True)
class LocalNode:
    """A node's process. ``api`` is its API once it is ready."""

    name: str
    home: Path
    process: subprocess.Popen[bytes]
    api: Api = field(init=False, repr=False)

    @property
    def log(self) -> str:
        return (self.home / LOG_FILE).read_text("utf-8", "replace")

    def address(self) -> str:
        """What others join through."""
        return str(self.api.get("/v1/status")["addresses"][0])

    @property
    def peer_id(self) -> str:
        return str(self.api.get("/v1/status")["peer_id"])

    def kill(self) -> None:
        """As kill -9 does: no goodbye, no clean-up."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.request_stop()
        self.await_end()

    def request_stop(self) -> None:
        """Ask once: a second signal would end the node without a clean-up."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def await_end(self) -> None:
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


class LocalMesh:
    """Nodes under ``root``, one folder each. Leaving :func:`local_mesh` stops them all."""

    def __init__(self, root: Path, charter: str) -> None:
        self.root = root
        self.charter = charter
        self.nodes: dict[str, LocalNode] = {}

    def launch(self, name: str, *roles: str, through: LocalNode | None = None, **settings: Any) -> LocalNode:
        """Start a node and return at once. ``settings`` are keys such as worker__slots=2; None: as the home has it."""
        home = self.root / name
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        given: dict[str, object] = {
            "mesh.charter": self.charter,
            "mesh.listen": "/ip4/127.0.0.1/tcp/0",
            "mesh.bootstrap": through.address() if through else "",
            "api.port": "0",
            "node.alias": name,
            "node.roles": ",".join(roles),
        } | {key.replace("__", "."): value for key, value in settings.items()}
        with (home / LOG_FILE).open("ab") as log:
            node = LocalNode(name, home, _spawn(self.command(name), home, _said(given), log))
        self.nodes[name] = node
        return node

    def start(self, name: str, *roles: str, through: LocalNode | None = None, **settings: Any) -> LocalNode:
        """Launch a node and wait until its API answers. Raises Fault with the end of its log if it does not come up."""
        node = self.launch(name, *roles, through=through, **settings)
        self.await_ready(node)
        return node

    def await_ready(self, *nodes: LocalNode) -> None:
        for node in nodes:
            wait_for(lambda node=node: self._ready(node), f"{node.name} to start", START_S)  # type: ignore[misc]

    def _ready(self, node: LocalNode) -> bool:
        if node.process.poll() is not None:
            raise Fault(f"{node.name} ended before it was ready:\n{node.log[-2000:]}")
        try:
            node.api = self.reach(node)
            return bool(node.api.info.pid == node.process.pid and node.api.get("/v1/status"))
        except NotRunning:
            return False

    def command(self, name: str) -> list[str]:  # noqa: ARG002
        """What runs ``meshgen`` for this node; a test may wrap it."""
        return [sys.executable, "-m", "meshgen.cli"]

    def reach(self, node: LocalNode) -> Api:
        """Raises NotRunning as long as it does not run."""
        return Api.of(node.home, wait=False)

    def stop(self) -> None:
        """All at once, so that it takes as long as the slowest."""
        for node in self.nodes.values():
            node.request_stop()
        for node in self.nodes.values():
            node.await_end()


@contextmanager
def local_mesh(root: Path, charter: str = "meshgen-local-v0") -> Iterator[LocalMesh]:
    mesh = LocalMesh(root, charter)
    try:
        yield mesh
    finally:
        mesh.stop()


def wait_for(ready: Callable[[], bool], what: str, seconds: float) -> None:
    """Other processes can only be asked again and again. Raises Fault when the time is over."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise Fault(f"waited {seconds:.0f} s for {what}, in vain")
        time.sleep(POLL_S)


def _said(settings: Mapping[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in settings.items() if value is not None}


def _spawn(meshgen: list[str], home: Path, settings: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C is for whoever started the mesh, and the nodes are stopped from there."""
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [*meshgen, "run", "--home", str(home), *sets]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MESHGEN_")}
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)
