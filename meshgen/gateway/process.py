"""Which process this is. Its number alone does not tell: it is given again after its end, and in a container every node is 1."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_STATE, _START = 0, 19
"""Behind the name in /proc/PID/stat: how the process does, and when it began, in ticks since the machine did."""


def lives(pid: int, born: str = "") -> bool:
    """Does it run, and is it the one that began then? ``born`` is what :func:`born_at` said of it; "" is not compared."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as somebody else's
    return not _is_zombie(pid) and (not born or born_at(pid) in ("", born))


def born_at(pid: int) -> str:
    """When it began, as its system counts: to be compared, and unmoved by a clock that is set. "" if that can't be told."""
    if sys.platform == "linux":
        return _stat(pid, _START)
    import psutil

    try:
        return repr(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


def is_stopped(pid: int) -> bool:
    """By Ctrl-Z or the like, so that it can't answer?"""
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def _is_zombie(pid: int) -> bool:
    """Has it ended, and its parent not yet noticed? Known on Linux; elsewhere such a process counts as living."""
    return _stat(pid, _STATE) == "Z"


def _stat(pid: int, field: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[field]
    except (OSError, IndexError):
        return ""
