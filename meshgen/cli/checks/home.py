from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.faults import Fault
from meshgen.home import CONFIG_FILE

MAKE = "run: meshgen join LINE, with an invite to a mesh, or meshgen init without one"


def home(patient: Patient) -> Iterator[Finding]:
    if not patient.home.is_dir():
        yield Finding("home", "fault", f"there is no node yet: {patient.home} is no folder", MAKE)
    elif not os.access(patient.home, os.R_OK | os.W_OK | os.X_OK):
        whose = f"{patient.home} can't be read and written{_whose(patient.home)}"
        yield Finding("home", "fault", whose, "use the account that owns it, or another --home")
    else:
        yield Finding("home", "ok", str(patient.home))


def owner(patient: Patient) -> Iterator[Finding]:
    """Root may read everything, and leaves files behind that the owner may not."""
    if not hasattr(os, "geteuid") or not os.access(patient.home, os.R_OK | os.X_OK):
        return
    owns = patient.home.stat().st_uid
    if owns != os.geteuid():
        cure = "run meshgen as its owner: what root writes there, the owner can't read"
        yield Finding("owner", "note" if patient.running else "fault", f"this is not your home{_whose(patient.home)}", cure)
    for path in sorted(patient.home.iterdir()):
        if path.stat(follow_symlinks=False).st_uid != owns:
            cure = f"run: sudo chown -R {_name(owns)} '{patient.home}'"
            yield Finding("owner", "fault", f"{path.name} is another account's than the home{_whose(path)}", cure)
            return


def key(patient: Patient) -> Iterator[Finding]:
    """It must be the one that the log here was begun with."""
    from meshgen.home import HomeError
    from meshgen.identity import KEY_FILE, IdentityError
    from meshgen.ledger.errors import LedgerError
    from meshgen.ledger.owner import find_key

    path = patient.home / KEY_FILE
    if patient.home.is_dir() and not os.access(patient.home, os.X_OK):
        return
    try:
        found = find_key(patient.home)
        yield Finding("key", "ok", found.peer_id) if found else Finding("key", "fault", "there is no key yet", MAKE)
    except (HomeError, LedgerError) as error:
        yield Finding("key", "fault", str(error))
    except IdentityError as error:
        if os.access(path, os.R_OK):
            yield Finding("key", "fault", str(error))
        else:
            yield Finding("key", "fault", f"{path} can't be read{_whose(path)}", "use its owner's account")


def api_keys(patient: Patient) -> Iterator[Finding]:
    """What opens the API, and spends the owner's credit."""
    from meshgen.gateway.keys import faults_of

    if os.access(patient.home, os.R_OK | os.X_OK):
        yield from (Finding("api", "fault", fault) for fault in faults_of(patient.home))


def config(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    if isinstance(settings, Fault):
        sources = {line.startswith("environment: ") for line in settings.message.splitlines()}
        which = " and ".join("the variable" if is_variable else "the file" for is_variable in sorted(sources))
        yield Finding("config", "fault", settings.message, f"mend {which}; config.example.yaml explains every key")
    elif patient.running:
        yield Finding("config", "ok", f"roles: {', '.join(settings.node.roles)}; as the running node has it")
    elif _is_there(patient.home / CONFIG_FILE):
        yield Finding("config", "ok", f"roles: {', '.join(settings.node.roles)}")
    else:
        yield Finding("config", "note", f"no {CONFIG_FILE}: defaults apply, as a requester only", "run: meshgen init")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _whose(path: Path) -> str:
    if not hasattr(os, "geteuid"):
        return ""
    return f": it belongs to {_name(path.stat(follow_symlinks=False).st_uid)}, and you are {_name(os.geteuid())}"


def _name(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
