"""What a service manager is given to run a node by: a unit for systemd, a property list for launchd.

No secret stands in either: the node reads its key from its home.
"""

from __future__ import annotations

import plistlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STATE_HOME = Path("/var/lib/meshgen")
SYSTEM_USER = "meshgen"
WATCHDOG_S = 120
START_S = 900
"""A worker may have models of hundreds of gigabytes to look at first."""
AFTER_DRAIN_S = 30
LOG_FILE = "meshgen.log"
"""Where launchd, which keeps no log of its own, leaves it to the node."""
_STEPS_SINCE = 254
"""The version of systemd from which on the pause before a restart can grow."""


@dataclass(frozen=True, slots=True)
class Service:
    """A node as a service. ``drain_s`` None: its settings say how long it ends jobs, ``stop_s`` how long it is waited for."""

    name: str
    command: tuple[str, ...]
    home: Path
    drain_s: float | None = None
    stop_s: float = AFTER_DRAIN_S
    groups: tuple[str, ...] = ()
    """Of this machine, that may use its GPUs; for a system unit."""


def user_unit(service: Service, systemd: int) -> str:
    """For the manager of one person's services, with that person's rights."""
    return _text(
        ("Unit", _unit(service)),
        ("Service", [*_run(service, systemd), *_modest()]),
        ("Install", [("WantedBy", "default.target")]),
    )


def system_unit(service: Service, systemd: int) -> str:
    """For the machine's own manager: a user of its own, and of the machine what a node needs."""
    return _text(
        ("Unit", [*_unit(service), ("Wants", "network-online.target"), ("After", "network-online.target")]),
        ("Service", [*_run(service, systemd), *_place(service), *_modest(), *_walls()]),
        ("Install", [("WantedBy", "multi-user.target")]),
    )


def _unit(service: Service) -> list[tuple[str, str]]:
    described = "meshgen, a node of an image-generation mesh"
    return [("Description", described if service.name == "meshgen" else f"{described} ({service.name})")]


def _run(service: Service, systemd: int) -> Iterator[tuple[str, str]]:
    yield "Type", "notify"
    yield "ExecStart", " ".join(map(quoted, service.command))
    yield "Environment", "PYTHONUNBUFFERED=1"
    if service.drain_s is not None:
        yield "#", "how long a stopped worker ends its jobs; without this line node.drain_s of the config says it"
        yield "Environment", f"MESHGEN_NODE__DRAIN_S={service.drain_s:g}"
    yield "TimeoutStartSec", f"{START_S}"
    yield "TimeoutStopSec", f"{(service.drain_s or 0) + service.stop_s:g}"
    yield "WatchdogSec", f"{WATCHDOG_S}"
    yield "#", "the node ends its engine itself, after its jobs; an engine that runs out of memory costs a job, not the node"
    yield "KillMode", "mixed"
    yield "OOMPolicy", "continue"
    yield "#", "wrong usage and unusable settings do not get better by themselves"
    yield "RestartPreventExitStatus", "2 4"
    yield "Restart", "on-failure"
    yield "RestartSec", "5"
    if systemd >= _STEPS_SINCE:
        yield "RestartSteps", "6"
        yield "RestartMaxDelaySec", "300"
    yield "LimitNOFILE", "65536"


def _place(service: Service) -> Iterator[tuple[str, str]]:
    yield "User", SYSTEM_USER
    yield "Group", SYSTEM_USER
    if service.groups:
        yield "SupplementaryGroups", " ".join(service.groups)
    if service.home == STATE_HOME:
        yield "StateDirectory", STATE_HOME.name
        yield "StateDirectoryMode", "0700"
    else:
        yield "ReadWritePaths", quoted(str(service.home))


def _modest() -> list[tuple[str, str]]:
    names = ("NoNewPrivileges", "LockPersonality", "RestrictRealtime", "RestrictSUIDSGID")
    return [*((name, "yes") for name in names), ("UMask", "0077")]


def _walls() -> Iterator[tuple[str, str]]:
    yield "ProtectSystem", "strict"
    yield "#", "models often lie in somebody's home"
    yield "ProtectHome", "read-only"
    for name in ("Clock", "ControlGroups", "Hostname", "KernelLogs", "KernelModules", "KernelTunables"):
        yield f"Protect{name}", "yes"
    yield "ProtectProc", "invisible"
    for name in ("PrivateTmp", "RemoveIPC", "RestrictNamespaces"):
        yield name, "yes"
    yield "#", "netlink tells the addresses of this machine"
    yield "RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"
    yield "CapabilityBoundingSet", ""
    yield "SystemCallArchitectures", "native"
    yield "SystemCallFilter", "@system-service"
    yield "SystemCallErrorNumber", "EPERM"
    yield "#", "no MemoryDenyWriteExecute: torch compiles while it runs"
    yield "#", "GPUs: /dev/nvidia*, /dev/dri, /dev/kfd; a driver that is loaded later needs a restart of this service"
    yield "DevicePolicy", "closed"
    for group in ("nvidia*", "drm", "kfd"):
        yield "DeviceAllow", f"char-{group} rw"


def _text(*sections: tuple[str, list[tuple[str, str]]]) -> str:
    blocks = (
        "\n".join([f"[{title}]", *(f"# {value}" if key == "#" else f"{key}={value}" for key, value in lines)])
        for title, lines in sections
    )
    return "\n\n".join(blocks) + "\n"


def quoted(word: str) -> str:
    """As systemd reads one word of a command or a path, where % and $ mean something."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if word and word == escaped and not set(word) & set(" \t';#") else f'"{escaped}"'


def launchd_list(service: Service) -> bytes:
    """For one person's launchd."""
    environment = {"PYTHONUNBUFFERED": "1", "MESHGEN_NODE__LOG_FILE": LOG_FILE}
    if service.drain_s is not None:
        environment["MESHGEN_NODE__DRAIN_S"] = f"{service.drain_s:g}"
    return plistlib.dumps(
        {
            "Label": service.name,
            "ProgramArguments": list(service.command),
            "EnvironmentVariables": environment,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 30,
            "ExitTimeOut": int((service.drain_s or 0) + service.stop_s),
            "SoftResourceLimits": {"NumberOfFiles": 65536},
            "Umask": 0o077,
            "StandardOutPath": "/dev/null",
            "StandardErrorPath": "/dev/null",
        }
    )
