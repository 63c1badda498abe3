"""How clients find the running node: ``HOME/run/api.json`` and ``HOME/api.token``."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from meshgen.gateway.process import born_at, lives
from meshgen.home import RUN_FILE, TOKEN_FILE

TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class RunInfo:
    """``url`` is empty as long as the node is on its way up."""

    url: str
    pid: int
    token_file: str
    pictures_dir: str = ""
    born: str = ""
    """When that process began, see :func:`born_at`."""

    @classmethod
    def own(cls, url: str = "", token_file: str = "", pictures_dir: str = "") -> RunInfo:
        """Of this process."""
        return cls(url, os.getpid(), token_file, pictures_dir, born_at(os.getpid()))

    def alive(self) -> bool:
        """False for what a killed node left behind."""
        return lives(self.pid, self.born)


def read_run(home: Path) -> RunInfo | None:
    """What the run file says, or None if there is none or it is damaged. Whether that node lives is another question."""
    try:
        return RunInfo(**json.loads((home / RUN_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_run(home: Path, info: RunInfo) -> None:
    write_private(home / RUN_FILE, json.dumps(asdict(info)))


def remove_run(home: Path, pid: int) -> None:
    """Remove the run file if it is this process's."""
    info = read_run(home)
    if info is not None and info.pid == pid:
        (home / RUN_FILE).unlink(missing_ok=True)


@contextmanager
def starting(home: Path) -> Iterator[None]:
    """Whoever asks before the API is open waits for it. The file of another node that runs is left alone."""
    info = read_run(home)
    with suppress(OSError):  # the node itself says what is wrong with its home
        if info is None or info.pid == os.getpid() or not info.alive():
            write_run(home, RunInfo.own())
    try:
        yield
    finally:
        remove_run(home, os.getpid())


def make_token(home: Path) -> str:
    """A fresh token for this run: one that leaked earlier is worth nothing now."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    write_private(home / TOKEN_FILE, token)
    return token


def write_private(path: Path, text: str) -> None:
    """Mode 0600 from the first byte on, and whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
