from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from meshgen.cli.checks.clock import HURTS_S
from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.home import BEGUN_FILE, RESTORED_FILE, RESTORING_DIR

BACKUP = "stop the node; put the log back from a backup, however old, or: meshgen account recover --from ... --log ..."


def credit_log(patient: Patient) -> Iterator[Finding]:
    """As a start finds it, in the same words."""
    from meshgen.ledger.database import why_absent
    from meshgen.ledger.errors import Absent, LedgerError
    from meshgen.ledger.store import LEDGER_FILE

    home = patient.home
    try:
        if (home / RESTORING_DIR).exists():  # the check of the key says so
            return
        begun = (home / BEGUN_FILE).exists() and not (home / RESTORED_FILE).exists()  # what was restored may hold nothing yet
        has_own = _examine(home)
    except PermissionError:  # the check of the home says so
        return
    except Absent:
        has_own = None
    except LedgerError as error:
        yield Finding("log", "fault", str(error), BACKUP if error.__cause__ else "")  # SQLite's own words name no cure
        return
    if begun and not has_own:
        yield Finding("log", "fault", why_absent(home / LEDGER_FILE))
    elif has_own is not None:
        yield Finding("log", "ok", "the own chain is whole; `meshgen credit verify` checks every entry")


def _examine(home: Path) -> bool:
    """Its pages, and the own chain; signatures are not looked at. Is there an own chain? Raises LedgerError."""
    from meshgen.ledger.database import check_pages
    from meshgen.ledger.opening import check_own
    from meshgen.ledger.store import LEDGER_FILE, open_read_only

    with open_read_only(home) as store:
        check_pages(home / LEDGER_FILE)
        return bool(check_own(store).seq)


def standing(patient: Patient) -> Iterator[Finding]:
    trouble = patient.running.get("trouble")
    if trouble and abs(patient.ahead_s or 0) < HURTS_S:  # else it is the clock, whose check says so
        yield Finding("standing", "fault", trouble)
