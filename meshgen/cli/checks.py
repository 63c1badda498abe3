"""What `meshgen doctor` looks at. Each check says what it found, and what to do if that is not well."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from meshgen.cli.client import Api
from meshgen.cli.config import settings_of
from meshgen.cli.faults import Fault, NotRunning
from meshgen.home import BEGUN_FILE, CONFIG_FILE

if TYPE_CHECKING:
    from meshgen.settings import Settings

MIN_PYTHON = (3, 11)
LOW_DISK_BYTES = 1024**3
DIAL_S = 3.0
BUILT_S = 1_767_225_600  # 2026-01-01: no node is older than its program


@dataclass(frozen=True, slots=True)
class Finding:
    """``note`` is worth knowing and harms nothing; ``fault`` needs mending."""

    name: str
    level: Literal["ok", "note", "fault"]
    text: str
    cure: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


class Patient:
    """The node under examination; what several checks need is found out once."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @cached_property
    def settings(self) -> Settings | Fault:
        try:
            return settings_of(self.home)
        except Fault as fault:
            return fault

    @cached_property
    def status(self) -> dict[str, Any] | NotRunning:
        """What the running node says of itself."""
        try:
            return dict(Api.of(self.home).get("/v1/status"))
        except NotRunning as absent:
            return absent

    def connected(self) -> int:
        return 0 if isinstance(self.status, NotRunning) else int(self.status.get("connected", 0))

    def usable(self) -> Settings | None:
        return None if isinstance(self.settings, Fault) else self.settings


def python(patient: Patient) -> Iterator[Finding]:  # noqa: ARG001
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MIN_PYTHON:
        yield Finding("python", "fault", f"version {found}", "install Python 3.11 or newer")
    else:
        yield Finding("python", "ok", found)


def home(patient: Patient) -> Iterator[Finding]:
    if not patient.home.is_dir():
        yield Finding("home", "fault", f"{patient.home} does not exist", "run: meshgen init")
    elif not os.access(patient.home, os.W_OK | os.X_OK):
        yield Finding("home", "fault", f"{patient.home} can't be written", "use the account that owns it, or another --home")
    else:
        yield Finding("home", "ok", str(patient.home))


def key(patient: Patient) -> Iterator[Finding]:
    from meshgen.identity import KEY_FILE, IdentityError, load_or_create

    path = patient.home / KEY_FILE
    if not path.exists():
        yield Finding("key", "fault", "there is no key yet", "run: meshgen init")
        return
    try:
        yield Finding("key", "ok", load_or_create(patient.home).peer_id)
    except IdentityError as error:
        yield Finding("key", "fault", str(error))
    except PermissionError:
        yield Finding("key", "fault", f"{path} can't be read", f"use its owner's account (user id {path.stat().st_uid})")


def config(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    if isinstance(settings, Fault):
        yield Finding("config", "fault", settings.message, "mend the file; config.example.yaml explains every key")
    elif (patient.home / CONFIG_FILE).exists():
        yield Finding("config", "ok", f"roles: {', '.join(settings.node.roles)}")
    else:
        yield Finding("config", "note", f"no {CONFIG_FILE}: defaults apply, as a requester only", "run: meshgen init")


def charter(patient: Patient) -> Iterator[Finding]:
    from meshgen.peers.charter_file import CharterError
    from meshgen.peers.charter_home import lineage_of, mesh_of_log

    settings = patient.usable()
    if settings is None:
        return
    try:
        lineage, logged = lineage_of(patient.home, settings), mesh_of_log(patient.home)
    except CharterError as error:
        yield Finding("mesh", "fault", str(error))
        return
    shown = f"{lineage.current.name} ({lineage.net.hex()})"
    if logged not in (b"", lineage.net):
        yield Finding("mesh", "fault", f"{shown}, but the credit log belongs to {logged.hex()}", "use another home for this mesh")
    else:
        yield Finding("mesh", "ok", f"{shown}, version {lineage.current.version}" if lineage.documents else shown)


def credit_log(patient: Patient) -> Iterator[Finding]:
    from meshgen.ledger.store import LEDGER_FILE

    if (patient.home / BEGUN_FILE).exists() and not (patient.home / LEDGER_FILE).exists():
        cure = "put it back from a backup, however old, or: meshgen account recover --from ... --log ..."
        yield Finding("log", "fault", f"{LEDGER_FILE} is gone, and with it the credit log that this key has begun", cure)


def clock(patient: Patient) -> Iterator[Finding]:
    """Offers, bids and entries carry times; a clock that is minutes off makes all of them invalid to others."""
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    newest = max((path.stat().st_mtime for path in patient.home.glob("*") if path.is_file()), default=BUILT_S)
    if now < max(BUILT_S, newest - 60):
        yield Finding("clock", "fault", f"{shown}: it runs behind this node's own files", "set it, or switch on network time")
    else:
        yield Finding("clock", "ok", f"{shown}; if that is minutes off, others refuse what this node says")


def disk(patient: Patient) -> Iterator[Finding]:
    place = next(folder for folder in (patient.home, *patient.home.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    shown = f"{free / 1024**3:.1f} GiB free"
    if free < LOW_DISK_BYTES:
        yield Finding("disk", "fault", shown, f"make room in {place}: the credit log must be written before anything is sent")
    else:
        yield Finding("disk", "ok", shown)


def engine(patient: Patient) -> Iterator[Finding]:
    settings = patient.usable()
    if settings is None or not settings.has_role("worker"):
        return
    if settings.worker.engine == "fake":
        yield Finding(
            "engine", "note", "the fake engine draws labels instead of pictures", "set worker.engine: auto for real ones"
        )
        return
    missing = [name for name in ("torch", "diffusers", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        text = f"{', '.join(missing)} not installed: this worker can't draw"
        yield Finding("engine", "fault", text, "run: pip install 'meshgen-node[worker]', or take worker out of node.roles")
        return
    yield Finding("engine", "ok", "torch, diffusers and transformers are installed")
    yield from _models(patient.home)


def _models(folder: Path) -> Iterator[Finding]:
    from meshgen.engine.models.catalog import Catalog, CatalogError

    catalog = Catalog(folder)
    try:
        found, faults = catalog.models(), catalog.check()
    except CatalogError as error:
        yield Finding("models", "fault", str(error))
        return
    if not found:
        yield Finding(
            "models", "fault", "no model is installed: this worker has nothing to draw with", "run: meshgen models add NAME PATH"
        )
    for name, why in faults.items():
        yield Finding("models", "fault", f"{name}: {why}", f"bring it back, or run: meshgen models rm {name}")
    if sound := [model.name for model in found if model.name not in faults]:
        yield Finding("models", "ok", ", ".join(sound))


def node(patient: Patient) -> Iterator[Finding]:
    status = patient.status
    if isinstance(status, NotRunning):
        yield Finding("node", "note", status.message, status.hint)
        yield from _ports(patient)
    else:
        yield Finding("node", "ok", f"has run for {status.get('uptime_s', 0)} s")
        if trouble := status.get("trouble"):
            yield Finding("standing", "fault", trouble)


_CURES = {
    "paused": "take work again with: meshgen resume",
    "driver": "look after the device's driver, or take worker.max_temperature_c and max_power_w out",
    "engine": "see the node's log; `meshgen models check` looks at the files",
    "no_model": "run: meshgen models ls, and look at worker.models",
}
"""By the code of what keeps a worker from working."""


def working(patient: Patient) -> Iterator[Finding]:
    worker = None if isinstance(patient.status, NotRunning) else patient.status.get("worker")
    for reason in (worker or {}).get("reasons", []):
        level: Literal["note", "fault"] = "fault" if reason["code"] in ("driver", "engine", "no_model") else "note"
        yield Finding("worker", level, f"takes no work: {reason['text']}", _CURES.get(reason["code"], ""))


def _ports(patient: Patient) -> Iterator[Finding]:
    settings = patient.usable()
    if settings is None:
        return
    wanted = [("api.port", settings.api.host, settings.api.port)]
    for address in settings.mesh.listen:
        _, kind, host, _, port = address.split("/")[:5]
        if kind.startswith("ip"):
            wanted.append(("mesh.listen", host, int(port)))
    for name, place, number in wanted:
        if number and (why := _why_not_bound(place, number)):
            yield Finding("port", "fault", f"{name}: {place} port {number}: {why}", "stop what uses it, or set another port")


def _why_not_bound(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        if os.name == "posix":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
    return ""


def bootstrap(patient: Patient) -> Iterator[Finding]:
    settings = patient.usable()
    if settings is None:
        return
    from meshgen.peers.charter_file import CharterError
    from meshgen.peers.charter_home import doors

    try:
        addresses = doors(patient.home, settings)
    except CharterError:  # the check of the mesh says what is wrong
        addresses = settings.mesh.bootstrap
    if not addresses and not settings.has_role("hub") and not settings.mesh.mdns and not patient.connected():
        yield Finding(
            "bootstrap", "note", "no node to join through: this one is alone", "set mesh.bootstrap to a node that you know"
        )
    for address in addresses:
        _, _, host, _, port = address.split("/")[:5]
        try:
            socket.create_connection((host, int(port)), DIAL_S).close()
            yield Finding("bootstrap", "ok", f"{host} port {port} answers")
        except OSError as error:
            text = f"{host} port {port} does not answer: {(error.strerror or str(error)).lower()}"
            yield Finding("bootstrap", "fault", text, "check this machine's network, or take another node for mesh.bootstrap")


def peers(patient: Patient) -> Iterator[Finding]:
    status = patient.status
    if isinstance(status, NotRunning):
        return
    if not patient.connected():
        yield Finding("peers", "note", "connected to nobody", "see bootstrap above; a hub waits for others to come")
    else:
        yield Finding("peers", "ok", f"{patient.connected()} connected, {status.get('peers_known', 0)} known")


CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    python,
    home,
    key,
    config,
    charter,
    credit_log,
    clock,
    disk,
    engine,
    node,
    working,
    bootstrap,
    peers,
)
