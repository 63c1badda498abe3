"""What a service manager hears of a node."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from meshgen.supervision import STATUS_S, keep_telling, tell


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


def test_a_manager_is_told_in_one_datagram(manager: socket.socket) -> None:
    tell(READY="1", STATUS="two\nlines")
    assert manager.recv(4096) == b"READY=1\nSTATUS=two lines"


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"meshgen-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        tell(STOPPING="1")
        assert manager.recv(4096) == b"STOPPING=1"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell(READY="1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    tell(READY="1")


@pytest.mark.parametrize(
    ("environment", "every_s"),
    [
        ({}, STATUS_S),
        ({"WATCHDOG_USEC": "20000000"}, 10),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 10),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, STATUS_S),
        ({"WATCHDOG_USEC": "often"}, STATUS_S),
        ({"WATCHDOG_USEC": "0"}, STATUS_S),
    ],
)
async def test_it_is_told_twice_in_its_time(
    manager: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    environment: dict[str, str],
    every_s: float,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with trio.move_on_after(every_s * 3.5):
        await keep_telling(lambda: "well")
    heard = []
    while len(heard) < 4:
        heard.append(manager.recv(4096))
    assert set(heard) == {b"WATCHDOG=1\nSTATUS=well"}
    with pytest.raises(BlockingIOError):
        manager.recv(4096)
