"""Offers, bids and entries carry times; a clock that is minutes off makes all of them invalid to others."""

from __future__ import annotations

import time
from collections.abc import Iterator

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient

BUILT_S = 1_767_225_600  # 2026-01-01: no node is older than its program
HURTS_S = 30
"""From here on offers and adverts begin to look expired, here or elsewhere."""
CURE = "set it, or switch on network time"


def clock(patient: Patient) -> Iterator[Finding]:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    ahead_s, by = _ahead_s(patient)
    if now < max(BUILT_S, _newest_s(patient) - 60):
        yield Finding("clock", "fault", f"{shown}: it runs behind this node's own files", CURE)
    elif ahead_s is None:
        yield Finding("clock", "ok", f"{shown}; if that is minutes off, others refuse what this node says")
    elif abs(ahead_s) >= HURTS_S:
        way = "ahead of" if ahead_s > 0 else "behind"
        yield Finding(
            "clock", "fault", f"{shown}: {_span(abs(ahead_s))} {way} {by}", f"{CURE}: others refuse what this node says"
        )
    else:
        yield Finding("clock", "ok", f"{shown}; within {max(abs(ahead_s), 1):.0f} s of {by}")


def _ahead_s(patient: Patient) -> tuple[float | None, str]:
    """By how much, and of whom: of the running node's peers, else of the nodes at its doors."""
    if patient.ahead_s is not None:
        peers = int(patient.running["clock"]["peers"])
        return patient.ahead_s, f"its {peers} peers' (median)" if peers > 1 else "its only peer's"
    doors = (patient.visits.get(door) for door in patient.doors)  # not what a visit to itself may have found
    found = sorted(visit.ahead_s for visit in doors if visit and visit.ahead_s is not None)
    return (found[len(found) // 2], "the clock at its hub") if found else (None, "")


def _newest_s(patient: Patient) -> float:
    try:
        return max((path.stat().st_mtime for path in patient.home.glob("*") if path.is_file()), default=BUILT_S)
    except PermissionError:
        return BUILT_S


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
