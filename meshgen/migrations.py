"""A home's folder from version to version: each step after a copy of what it changes, and one that was cut off is done again.

A step is given the home as it was before it, even if it ran half-way once: what it changes is put back from the copy first. So
it need not care about being cut off, only name all that it changes.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from meshgen.home import HOME_VERSION, VERSION_FILE, HomeError, ensure_restored, home_version
from meshgen.ledger.database import locked
from meshgen.ledger.store import LEDGER_FILE, LOCK_FILE

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """From one version to the next. ``changes``: names in the home, files or folders, that ``run`` changes, makes or removes; a
    database with its companions (``ledger.db``, ``ledger.db-wal``, ``ledger.db-shm``)."""

    changes: tuple[str, ...]
    run: Callable[[Path], None]


STEPS: Mapping[int, Step] = {}
"""By the version that each begins with. The first change of what lies in a home puts the first one here."""


def open_home(home: Path, steps: Mapping[int, Step] = STEPS, newest: int = HOME_VERSION) -> None:
    """Bring the home to this meshgen's version; a new one begins there. Raises HomeError, LedgerError if a node runs there, and
    OSError."""
    ensure_restored(home)
    version = home_version(home, newest) if _has_run(home) else newest
    if version < newest:
        with locked(home / LOCK_FILE):
            for number in range(version, newest):
                _step(home, number, steps[number])
    if not (home / VERSION_FILE).exists():
        _write_version(home, newest)


def _has_run(home: Path) -> bool:
    """One that was only made, by `meshgen init` or `join`, is this meshgen's."""
    return (home / VERSION_FILE).exists() or (home / LEDGER_FILE).exists()


def _step(home: Path, number: int, step: Step) -> None:
    aside = home / f"before-version-{number + 1}"
    if aside.exists():
        _put_back(home, aside, step.changes)
    else:
        _set_aside(home, aside, step.changes)
    try:
        step.run(home)
    except Exception as error:
        _put_back(home, aside, step.changes)
        raise HomeError(
            f"{home} could not be brought to version {number + 1} and is as it was ({type(error).__name__}: {error})."
            " Use the meshgen that it was used with, and please report this"
        ) from error
    _write_version(home, number + 1)
    log.warning("%s is of version %d now; what was changed is kept in %s", home, number + 1, aside)


def _set_aside(home: Path, aside: Path, names: tuple[str, ...]) -> None:
    """Whole or not at all."""
    making = aside.with_name(f".{aside.name}")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    for name in names:
        _copy(home / name, making / name)
    making.replace(aside)


def _put_back(home: Path, aside: Path, names: tuple[str, ...]) -> None:
    for name in names:
        _remove(home / name)
        _copy(aside / name, home / name)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_version(home: Path, version: int) -> None:
    beside = home / f".{VERSION_FILE}.{os.getpid()}"
    with beside.open("w", encoding="ascii") as file:
        file.write(f"{version}\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(home / VERSION_FILE)
