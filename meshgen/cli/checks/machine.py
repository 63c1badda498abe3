from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient

MIN_PYTHON = (3, 11)
LOW_DISK_BYTES = 1024**3


def python(patient: Patient) -> Iterator[Finding]:  # noqa: ARG001
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MIN_PYTHON:
        yield Finding("python", "fault", f"version {found}", "install Python 3.11 or newer")
    else:
        yield Finding("python", "ok", found)


def disk(patient: Patient) -> Iterator[Finding]:
    place = next(folder for folder in (patient.home, *patient.home.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    shown = f"{free / 1024**3:.1f} GiB free"
    if free < LOW_DISK_BYTES:
        yield Finding("disk", "fault", shown, f"make room in {place}: the credit log must be written before anything is sent")
    elif not _free_files(place):
        yield Finding("disk", "fault", f"{shown}, but no more files can be made", f"remove some in the file system of {place}")
    else:
        yield Finding("disk", "ok", shown)


def _free_files(place: Path) -> bool:
    """Some file systems count them not at all."""
    if not hasattr(os, "statvfs"):
        return True
    found = os.statvfs(place)
    return not found.f_files or found.f_favail > 0
