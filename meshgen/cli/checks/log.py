from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from meshgen.cli.checks.clock import HURTS_S
from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.home import BEGUN_FILE

BACKUP = "put it back from a backup, however old, or: meshgen account recover --from ... --log ..."


def credit_log(patient: Patient) -> Iterator[Finding]:
    from meshgen.ledger.store import LEDGER_FILE

    file = patient.home / LEDGER_FILE
    try:
        begun, there = (patient.home / BEGUN_FILE).exists(), file.exists()
    except PermissionError:  # the check of the home says so
        return
    if begun and not there:
        yield Finding("log", "fault", f"{LEDGER_FILE} is gone, and with it the credit log that this key has begun", BACKUP)
    elif there and (damage := _damage(file)):
        yield Finding("log", "fault", f"the credit log {LEDGER_FILE} is damaged: {damage}", f"stop the node; {BACKUP}")
    elif there:
        yield Finding("log", "ok", "whole; `meshgen credit verify` checks every entry")


def _damage(file: Path) -> str:
    """What SQLite finds wrong with its pages; signatures and sums are not looked at."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as reader:
            found = str(reader.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    return "" if found == "ok" else found


def standing(patient: Patient) -> Iterator[Finding]:
    trouble = patient.running.get("trouble")
    if trouble and abs(patient.ahead_s or 0) < HURTS_S:  # else it is the clock, whose check says so
        yield Finding("standing", "fault", trouble)
