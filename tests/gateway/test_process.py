"""A process is told from another that got its number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from meshgen.gateway.process import born_at, is_stopped, lives
from meshgen.gateway.runfile import RunInfo


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_number_that_was_given_again_is_another_process(other: subprocess.Popen[bytes]) -> None:
    assert lives(other.pid, born_at(other.pid)) and lives(other.pid)
    assert not lives(other.pid, born_at(os.getpid())), "in a container each node is process 1"
    assert born_at(other.pid) == born_at(other.pid) != born_at(os.getpid())
    assert RunInfo.own().alive()


def test_what_is_gone_has_no_birth(other: subprocess.Popen[bytes]) -> None:
    other.kill()
    other.wait()
    assert born_at(other.pid) == "" and not lives(other.pid) and not is_stopped(other.pid)


def test_who_is_stopped(other: subprocess.Popen[bytes]) -> None:
    assert not is_stopped(other.pid)
    os.kill(other.pid, signal.SIGSTOP)
    os.waitpid(other.pid, os.WUNTRACED)
    assert is_stopped(other.pid) and lives(other.pid)
