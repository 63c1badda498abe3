from __future__ import annotations

import click

from meshgen.cli.checks.all import AT_FIRST, CHECKS
from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.faults import FAULT
from meshgen.cli.screen import folded
from meshgen.cli.verb import Call, count, verb


@click.command()
@verb
def doctor(call: Call) -> None:
    """Check this node and say what to mend."""
    patient = Patient(call.home)
    checks = CHECKS if patient.home.exists() else AT_FIRST
    findings = [finding for check in checks for finding in check(patient)]
    faults = sum(finding.level == "fault" for finding in findings)
    document = {"ok": not faults, "findings": [finding.as_dict() for finding in findings]}
    verdict = f"{count(faults, 'fault')} to mend" if faults else "no fault found"
    call.result(document, "\n".join([*map(_line, findings), verdict]))
    if faults:
        click.get_current_context().exit(FAULT)


INDENT = 5 + 2 + 9 + 2
"""Behind the longest level and the longest name."""
_COLOURS = {"ok": "green", "note": "yellow", "fault": "red"}


def _line(finding: Finding) -> str:
    head = f"{click.style(f'{finding.level:5}', fg=_COLOURS[finding.level])}  {finding.name:9}  "
    return head + folded("\n".join(filter(None, (finding.text, finding.cure))), INDENT)
