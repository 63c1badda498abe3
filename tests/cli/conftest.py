"""A fake node behind a real gateway, in a thread; and the command line as people call it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trio
from click.testing import CliRunner, Result

from meshgen.cli import main
from meshgen.gateway.serve import serve_gateway
from meshgen.settings import load_settings
from tests.gateway.fake_node import FakeNode

ROOT = Path(__file__).resolve().parent.parent.parent


def process(*words: str, **environment: str) -> subprocess.Popen[str]:
    """``meshgen WORDS`` as a process of its own."""
    command = [sys.executable, "-m", "meshgen.cli", *words]
    given = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.Popen(
        command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("MESHGEN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MESHGEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def meshgen() -> Callable[..., Result]:
    def call(*words: str, code: int = 0, stdin: str | None = None) -> Result:
        with patch("meshgen.cli.agreeing.at_terminal", lambda: stdin is not None):
            result = CliRunner().invoke(main, list(words), input=stdin)
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return call


@dataclass
class Running:
    node: FakeNode
    home: Path
    stop: Callable[[], None]
    """Ends the node's API, as if it went away."""

    def loads(self, result: Result) -> Any:
        return json.loads(result.stdout)


@pytest.fixture
def running(home: Path) -> Iterator[Running]:
    """The node's thread ends with the test."""
    node, ready = FakeNode(), queue.SimpleQueue[Callable[[], None]]()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_gateway, node, load_settings(overrides={"api.port": 0}), home)
            token = trio.lowlevel.current_trio_token()
            ready.put(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    stop = ready.get(timeout=20)
    yield Running(node, home, stop)
    with suppress(trio.RunFinishedError):
        stop()
    thread.join()
