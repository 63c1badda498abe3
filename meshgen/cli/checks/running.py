from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.faults import Fault, NotRunning, Silent


def node(patient: Patient) -> Iterator[Finding]:
    status = patient.status
    if isinstance(status, NotRunning):
        yield Finding("node", "fault" if isinstance(status, Silent) else "note", status.message, status.hint)
    else:
        yield Finding("node", "ok", f"has run for {status.get('uptime_s', 0)} s")


def service(patient: Patient) -> Iterator[Finding]:
    """Of this home's own, if it was installed."""
    from meshgen.cli.managers import manager_for, output

    for system in (False, True):
        try:
            manager = manager_for("meshgen", system, patient.home)
        except Fault:
            continue
        if not manager.file.exists() or str(patient.home) not in manager.file.read_text("utf-8", "replace"):
            continue
        option = " --system" if system else ""
        state = dict(line.split("=", 1) for line in output(manager.state).splitlines() if "=" in line)
        how = " ".join(filter(None, (state.get("ActiveState"), state.get("SubState")))) or "unknown"
        if patient.lives:
            yield Finding("service", "ok", f"{manager.file.name} is {how}")
        else:
            cure = f"see `meshgen service logs{option}`, then `meshgen service install{option}` starts it again"
            yield Finding("service", "fault", f"{manager.file.name} is installed, but {how}", cure)


def ports(patient: Patient) -> Iterator[Finding]:
    """Those of a node that runs are taken: by itself."""
    settings = patient.usable()
    if settings is None or patient.lives:
        return
    wanted = [("api.port", settings.api.host, settings.api.port)]
    for address in settings.mesh.listen:
        _, kind, host, _, port = address.split("/")[:5]
        if kind.startswith("ip"):
            wanted.append(("mesh.listen", host, int(port)))
    for name, place, number in wanted:
        if number and (error := _why_not_bound(place, number)):
            yield _unbound(name, place, number, error)


def _unbound(name: str, host: str, port: int, error: OSError) -> Finding:
    if error.errno == errno.EADDRNOTAVAIL:
        every = "127.0.0.1 for itself alone" if name == "api.port" else "0.0.0.0 for all of them"
        setting = "api.host" if name == "api.port" else name
        return Finding("port", "fault", f"{setting}: this machine has no address {host}", f"set one of its own there, or {every}")
    why = (error.strerror or str(error)).lower()
    return Finding("port", "fault", f"{name}: {host} port {port}: {why}", "stop what uses it, or set another port")


def _why_not_bound(host: str, port: int) -> OSError | None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        if os.name == "posix":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            return error
    return None
