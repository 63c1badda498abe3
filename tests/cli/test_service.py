"""`meshgen service`: what is written, what the service manager is asked, and what is said where it can't be.

The manager is a script that writes down what it is asked; where systemd-analyze is installed it judges the units too.
"""

from __future__ import annotations

import json
import os
import plistlib
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from meshgen.cli import managers
from meshgen.cli.units import Service, launchd_list, quoted, system_unit, user_unit
from meshgen.home import CONFIG_FILE
from tests.cli.conftest import process

Cli = Callable[..., Result]
Unit = dict[tuple[str, str], list[str]]
SAYS = "ActiveState=active\nNRestarts=2\nStatusText=3 connected, 5 known"


def parsed(text: str) -> Unit:
    found: Unit = defaultdict(list)
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            found[section, key].append(value)
    return found


def service(*, home: str = "/var/lib/meshgen", drain_s: float | None = 120, name: str = "meshgen") -> Service:
    command = ("/opt/meshgen/bin/python", "-P", "-m", "meshgen", "--home", home, "run")
    return Service(name, command, Path(home), drain_s, groups=("video", "render"))


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Stands for systemctl, journalctl and the like: what they were asked."""
    folder, told = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    for name in ("systemctl", "journalctl", "useradd", "install"):
        script = folder / name
        script.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "systemd 252 (252.39)" && exit\necho "{name} $*" >> {told}\n'
            f'case "$*" in *show*) echo "{SAYS}";; *"$FAIL"*) [ -z "$FAIL" ] || {{ echo "no bus" >&2; exit 1; }};; esac\n'
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return lambda: told.read_text().splitlines() if told.exists() else []


@pytest.fixture
def unit_file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "systemd" / "user" / "meshgen.service"


# -- the units


def test_the_system_unit_is_shut_off() -> None:
    found = parsed(system_unit(service(), 252))
    strict = {
        "User": "meshgen",
        "StateDirectory": "meshgen",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "PrivateTmp": "yes",
        "CapabilityBoundingSet": "",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "DevicePolicy": "closed",
        "UMask": "0077",
        "Type": "notify",
        "KillMode": "mixed",
        "Restart": "on-failure",
        "TimeoutStopSec": "150",
        "SupplementaryGroups": "video render",
        "RestartPreventExitStatus": "2 4",
    }
    assert {key: found["Service", key] for key in strict} == {key: [value] for key, value in strict.items()}
    assert found["Service", "DeviceAllow"] == ["char-nvidia* rw", "char-drm rw", "char-kfd rw"]
    assert not found["Service", "MemoryDenyWriteExecute"], "torch compiles while it runs"
    assert found["Service", "ExecStart"] == ["/opt/meshgen/bin/python -P -m meshgen --home /var/lib/meshgen run"]


def test_another_home_may_be_written_to() -> None:
    found = parsed(system_unit(service(home="/srv/my node"), 252))
    assert found["Service", "ReadWritePaths"] == ['"/srv/my node"'] and not found["Service", "StateDirectory"]


def test_what_older_managers_do_not_know_is_left_out() -> None:
    assert parsed(user_unit(service(), 254))["Service", "RestartMaxDelaySec"] == ["300"]
    assert not parsed(user_unit(service(), 253))["Service", "RestartMaxDelaySec"]


def test_the_owner_may_say_how_long_jobs_are_ended() -> None:
    found = parsed(user_unit(Service("x", ("a",), Path("/x"), None, 75), 252))
    assert found["Service", "TimeoutStopSec"] == ["75"]
    assert not [line for line in found["Service", "Environment"] if "DRAIN" in line]


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("run", "run"),
        ("a b", '"a b"'),
        ("50%", '"50%%"'),
        ("$HOME", '"$$HOME"'),
        ('"', '"\\""'),
        ("a\\b", '"a\\\\b"'),
        ("", '""'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word: str, written: str) -> None:
    assert quoted(word) == written


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("user", [False, True])
def test_systemd_takes_the_units(tmp_path: Path, user: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    file = tmp_path / "meshgen.service"
    given = Service(
        "meshgen", (sys.executable, "-m", "meshgen", "--home", '/tmp/a "b" 50% $x\\', "run"), Path("/var/lib/meshgen")
    )
    file.write_text((user_unit if user else system_unit)(given, managers.systemd_version()))
    words = ["systemd-analyze", *(["--user"] if user else []), "verify", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, "meshgen.service" in done.stderr) == (0, False), done.stderr
    if not user:
        words = ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(file)]
        assert subprocess.run(words, capture_output=True, check=False).returncode == 0, "an exposure of 2.5 at most"


def test_launchds_list() -> None:
    found = plistlib.loads(launchd_list(service()))
    assert found["ProgramArguments"][-3:] == ["--home", "/var/lib/meshgen", "run"]
    assert found["KeepAlive"] == {"SuccessfulExit": False} and found["ExitTimeOut"] == 150
    assert found["EnvironmentVariables"]["MESHGEN_NODE__LOG_FILE"] == "meshgen.log", "launchd's own file would have no end"


# -- installing


def test_install_writes_enables_and_starts(meshgen: Cli, home: Path, asked: Callable[[], list[str]], unit_file: Path) -> None:
    said = meshgen("service", "install", "--profile", "hub").output
    found = parsed(unit_file.read_text())
    assert shlex.split(found["Service", "ExecStart"][0]) == [
        *(sys.executable, "-P", "-m", "meshgen"),
        *("--home", str(home), "run", "--profile", "hub"),
    ]
    steps = ["daemon-reload", "enable meshgen.service", "restart meshgen.service"]
    assert asked() == [f"systemctl --user {step}" for step in steps]
    assert all(f"ran systemctl --user {step}" in said for step in steps) and f"wrote {unit_file}" in said
    assert "loginctl enable-linger" in said and str(home) in said
    assert json.loads(meshgen("service", "install", "--json").stdout)["unit"] == str(unit_file), "again, to change it"


def test_print_does_nothing(meshgen: Cli, asked: Callable[[], list[str]], unit_file: Path) -> None:
    assert parsed(meshgen("service", "install", "--print").stdout)["Service", "Type"] == ["notify"]
    assert parsed(meshgen("service", "install", "--print", "--system").stdout)["Service", "ProtectSystem"] == ["strict"]
    assert not asked() and not unit_file.exists()


def test_the_owners_settings_are_kept_to(meshgen: Cli, home: Path, asked: Callable[[], list[str]]) -> None:
    home.mkdir()
    (home / CONFIG_FILE).write_text("node: {drain_s: 10}")
    assert "TimeoutStopSec=40\n" in meshgen("service", "install", "--print").stdout
    (home / CONFIG_FILE).write_text("node: {drain: 10}")
    assert "node.drain: there is no such key" in meshgen("service", "install", "--print", code=4).stderr


def test_where_the_manager_cannot_be_reached(
    meshgen: Cli, asked: Callable[[], list[str]], unit_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "enable")
    said = meshgen("service", "install", code=1).stderr
    assert "`systemctl --user enable meshgen.service` failed: no bus" in said and unit_file.exists()
    assert "  systemctl --user enable meshgen.service\n  systemctl --user restart meshgen.service\n" in said
    assert "daemon-reload" not in said, "that is done"


def test_another_homes_service_is_not_overwritten(
    meshgen: Cli, tmp_path: Path, asked: Callable[[], list[str]], unit_file: Path
) -> None:
    meshgen("service", "install")
    before = unit_file.read_text()
    other = ("--home", str(tmp_path / "other"))
    assert "the service of another home" in meshgen(*other, "service", "install", code=1).stderr
    assert unit_file.read_text() == before
    meshgen(*other, "service", "install", "--name", "second")
    assert unit_file.with_name("second.service").exists()


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 61, "ü"])
def test_a_name_is_plain(meshgen: Cli, asked: Callable[[], list[str]], name: str) -> None:
    assert "letters, digits and - only" in meshgen("service", "install", "--name", name, code=2).stderr


def test_without_rights_it_says_the_command(
    meshgen: Cli, asked: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = meshgen("service", "install", "--system", "--profile", "hub", code=1).stderr
    assert f"sudo {sys.executable} -m meshgen service install --system --profile hub" in said
    assert not asked()


def test_the_machines_own_service(
    meshgen: Cli, asked: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(managers, "has_user", lambda name: False)
    monkeypatch.setattr("meshgen.cli.service._ensure_open_to_others", lambda *files: None)
    monkeypatch.setattr(managers.Systemd, "file", tmp_path / "etc" / "meshgen.service")
    meshgen("--home", str(tmp_path / "srv"), "service", "install", "--system", "--profile", "hub")
    assert [words.split()[0] for words in asked()] == ["useradd", "install", "systemctl", "systemctl", "systemctl"]
    assert asked()[1].endswith(f"--mode=0700 --owner=meshgen --group=meshgen {tmp_path / 'srv'}")
    assert asked()[2] == "systemctl daemon-reload"
    unit = parsed((tmp_path / "etc" / "meshgen.service").read_text())
    assert unit["Service", "ReadWritePaths"] == [str(tmp_path / "srv")]


def test_what_others_can_not_reach_is_no_service_of_the_machine(
    meshgen: Cli, asked: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "closed" / "python"
    python.parent.mkdir(mode=0o700)
    python.touch(mode=0o755)
    (tmp_path / "link").symlink_to(python)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "link"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "python3 -m venv /opt/meshgen" in meshgen("service", "install", "--system", code=1).stderr
    assert not asked()


# -- afterwards


def test_status_logs_and_uninstall(
    meshgen: Cli, asked: Callable[[], list[str]], unit_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for verb in ("status", "logs", "uninstall"):
        assert f"there is no {unit_file}" in meshgen("service", verb, code=1 if verb == "uninstall" else 3).stderr
    text = meshgen("service", "install", "--print").stdout
    assert json.loads(meshgen("service", "install", "--print", "--json").stdout)["text"] == text and not unit_file.exists()
    meshgen("service", "install")
    assert json.loads(meshgen("service", "status", "--json").stdout)["NRestarts"] == "2"
    assert "StatusText=3 connected, 5 known" in meshgen("service", "status").output
    meshgen("service", "logs", "-n", "7", "--follow")
    assert asked()[-1] == "journalctl --user --unit meshgen.service --lines 7 --follow"
    (unit_file.parents[3] / "bin" / "journalctl").write_text("#!/bin/sh\necho one\necho two\n")
    assert json.loads(meshgen("service", "logs", "--json").stdout)["lines"] == ["one", "two"]
    assert "leave one of them out" in meshgen("service", "logs", "--json", "--follow", code=2).stdout
    monkeypatch.setenv("FAIL", "disable")
    said = meshgen("service", "uninstall").output
    assert "no bus" in said and not unit_file.exists(), "a manager that is gone keeps nobody from tidying up"


def test_other_platforms(meshgen: Cli, asked: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    found = plistlib.loads(meshgen("service", "install", "--print").stdout.encode())
    assert found["Label"] == "meshgen"
    assert "leave --system away" in meshgen("service", "install", "--system", code=1).stderr
    monkeypatch.setattr(sys, "platform", "win32")
    assert "Task Scheduler" in meshgen("service", "install", code=1).stderr


# -- the node under a manager


def test_a_node_tells_its_manager(home: Path, tmp_path: Path) -> None:
    """As the unit runs it: ready once it serves, alive, stopping on SIGTERM; JSON lines; the home begins with a version."""
    settings = {"NODE__LOG_FORMAT": "json", "API__PORT": "0", "MESH__LISTEN": "/ip4/127.0.0.1/tcp/0", "MESH__CHARTER": "service"}
    environment = {f"MESHGEN_{key}": value for key, value in settings.items()} | {"MESHGEN_NODE__LOG_FILE": "meshgen.log"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        node = process("run", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="2000000", **environment)
        try:
            assert manager.recv(4096) == b"READY=1"
            assert manager.recv(4096) == b"WATCHDOG=1\nSTATUS=0 connected, 0 known"
            assert (home / "home.version").read_text() == "1\n"
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
            node.terminate()
            heard = b""
            while not heard.startswith(b"STOPPING"):
                heard = manager.recv(4096)
            _, errors = node.communicate(timeout=60)
        finally:
            node.kill()
    assert node.returncode == 0, errors
    messages = [json.loads(line)["message"] for line in errors.splitlines()]
    assert "stopping" in messages
    assert [json.loads(line)["message"] for line in (home / "meshgen.log").read_text().splitlines()] == messages
