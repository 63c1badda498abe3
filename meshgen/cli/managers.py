"""systemd and launchd as `meshgen service` speaks with them: where their files lie, and the commands that they answer."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from meshgen.cli.faults import Fault
from meshgen.cli.units import LOG_FILE, STATE_HOME, SYSTEM_USER, Service, launchd_list, system_unit, user_unit

ANSWER_S = 200.0
"""A stop may wait for the node's jobs."""
NEWEST = 999


class Manager(Protocol):
    """``file`` is what it reads. Commands are whole, for people to repeat; those under ``undo`` may fail."""

    @property
    def file(self) -> Path: ...
    @property
    def state(self) -> Sequence[str]: ...

    def text(self, service: Service) -> bytes: ...
    def prepare(self) -> list[list[str]]: ...
    def start(self) -> list[list[str]]: ...
    def undo(self) -> list[list[str]]: ...
    def logs(self, home: Path, lines: int, follow: bool) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Systemd:
    name: str
    system: bool
    home: Path

    @property
    def file(self) -> Path:
        if self.system:
            return Path("/etc/systemd/system") / self._unit
        config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        return Path(config).expanduser() / "systemd" / "user" / self._unit

    @property
    def _unit(self) -> str:
        return f"{self.name}.service"

    @property
    def _ctl(self) -> list[str]:
        return ["systemctl"] if self.system else ["systemctl", "--user"]

    @property
    def state(self) -> Sequence[str]:
        asked = "LoadState,UnitFileState,ActiveState,SubState,Result,MainPID,NRestarts,StatusText,ActiveEnterTimestamp"
        return [*self._ctl, "show", f"--property={asked}", self._unit]

    def text(self, service: Service) -> bytes:
        return (system_unit if self.system else user_unit)(service, systemd_version()).encode()

    def prepare(self) -> list[list[str]]:
        if not self.system:
            return []
        shell = "/usr/sbin/nologin"
        made = [["useradd", "--system", "--user-group", "--home-dir", str(STATE_HOME), "--shell", shell, SYSTEM_USER]]
        owned = ["install", "--directory", "--mode=0700", f"--owner={SYSTEM_USER}", f"--group={SYSTEM_USER}", str(self.home)]
        return [*([] if has_user(SYSTEM_USER) else made), *([] if self.home.exists() else [owned])]

    def start(self) -> list[list[str]]:
        return [[*self._ctl, "daemon-reload"], [*self._ctl, "enable", self._unit], [*self._ctl, "restart", self._unit]]

    def undo(self) -> list[list[str]]:
        return [[*self._ctl, "disable", "--now", self._unit]]

    def logs(self, home: Path, lines: int, follow: bool) -> list[str]:  # noqa: ARG002
        whose = [] if self.system else ["--user"]
        return ["journalctl", *whose, "--unit", self._unit, "--lines", str(lines), *(["--follow"] if follow else [])]


@dataclass(frozen=True, slots=True)
class Launchd:
    name: str

    @property
    def file(self) -> Path:
        return Path("~/Library/LaunchAgents").expanduser() / f"{self.name}.plist"

    @property
    def _domain(self) -> str:
        return f"gui/{os.getuid()}"

    @property
    def state(self) -> Sequence[str]:
        return ["launchctl", "print", f"{self._domain}/{self.name}"]

    def text(self, service: Service) -> bytes:
        return launchd_list(service)

    def prepare(self) -> list[list[str]]:
        return []

    def start(self) -> list[list[str]]:
        return [["launchctl", "bootstrap", self._domain, str(self.file)]]

    def undo(self) -> list[list[str]]:
        return [["launchctl", "bootout", f"{self._domain}/{self.name}"]]

    def logs(self, home: Path, lines: int, follow: bool) -> list[str]:
        return ["tail", "-n", str(lines), *(["-F"] if follow else []), str(home / LOG_FILE)]


def manager_for(name: str, system: bool, home: Path) -> Manager:
    """This machine's. Raises Fault where there is none that is known here."""
    if sys.platform == "darwin":
        if system:
            raise Fault("on macOS a node is a service of the one who is logged in", "leave --system away")
        return Launchd(name)
    if sys.platform == "win32":
        raise Fault("this knows systemd and launchd", "on Windows let the Task Scheduler run `meshgen run` at log-on")
    return Systemd(name, system, home)


def systemd_version() -> int:
    """For a unit to be written: that of this machine, or the newest where there is none."""
    if shutil.which("systemctl") is None:
        return NEWEST
    words = output(["systemctl", "--version"]).split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else NEWEST


def has_user(name: str) -> bool:
    import pwd

    return any(one.pw_name == name for one in pwd.getpwall())


def gpu_groups() -> tuple[str, ...]:
    """Of this machine: systemd refuses a unit that names a group which is not there."""
    import grp

    there = {one.gr_name for one in grp.getgrall()}
    return tuple(name for name in ("video", "render") if name in there)


def output(command: Sequence[str]) -> str:
    """What it says, or nothing if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def perform(command: Sequence[str]) -> str:
    """Run it; why it failed, in a line, or nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_S)
    except FileNotFoundError:
        return f"there is no {command[0]} on this machine"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (said[0] if said else f"it ended with code {done.returncode}")


def as_words(command: Sequence[str]) -> str:
    return shlex.join(command)
