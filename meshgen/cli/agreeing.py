"""What can't be taken back is asked for first."""

from __future__ import annotations

import sys

import click

from meshgen.cli.faults import Cancelled, Fault


def ask(question: str, yes: bool, told: str = "nothing was written") -> None:
    """On stderr, so that stdout stays what --json promises. Raises Cancelled; Fault where there is nobody to ask, as a program
    would wait for ever."""
    if yes:
        return
    if not at_terminal():
        raise Fault(f"there is no terminal to ask at: {question}", "if so, say it again with --yes", code="no_terminal")
    if not click.confirm(question, err=True):
        raise Cancelled(told)


def at_terminal() -> bool:
    return sys.stdin.isatty()
