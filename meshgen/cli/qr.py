"""An invite as a QR code: on the terminal, and as a picture."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from meshgen.cli.faults import Fault
from meshgen.cli.screen import folded
from meshgen.protocols.invite import Invite

BORDER = 2
"""Blank modules around the code on a terminal."""


def code_text(invite: Invite, columns: int, rows: int) -> str:
    """In half blocks, for a screen of so many; 0 is no bound. Where the whole line is too much, it holds fewer addresses: the
    rest are for when the first don't answer."""
    addresses = invite.addresses
    for number in range(len(addresses), 0, -1):
        fewer = Invite.to(invite.charter, invite.name, addresses[:number], invite.psk)
        code = _code(fewer.line)
        left_out = f"\nthe code holds {number} of the line's {len(addresses)} addresses, to fit here" * (number < len(addresses))
        if _fits(code, columns, rows, below=2 if left_out else 1):
            return _drawn(code) + left_out
    width, height = _size(_code(invite.line))
    text = f"its QR code needs a terminal of {width} columns and {height + 1} rows: --qr draws it anyway, --png FILE as a picture"
    return folded(text, 0)


def save_code(line: str, file: Path, kind: str) -> None:
    """``kind`` is png or svg. For its owner's eyes, as the line may hold a key. Raises Fault."""
    out = io.BytesIO()
    _code(line).save(out, kind=kind, scale=8, border=4)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.write(out.getvalue())
    except OSError as error:
        raise Fault(f"{file} can't be written: {error.strerror}") from None


def _fits(code: Any, columns: int, rows: int, below: int) -> bool:
    """All of it at once, with so many lines below, the prompt's among them: a camera can't scroll."""
    width, height = _size(code)
    return (not columns or width <= columns) and (not rows or height + below <= rows)


def _size(code: Any) -> tuple[int, int]:
    """Columns and rows, two modules a row."""
    modules = int(code.symbol_size(border=BORDER)[0])
    return modules, (modules + 1) // 2


def _drawn(code: Any) -> str:
    out = io.StringIO()
    code.terminal(out, compact=True, border=BORDER)
    return out.getvalue().rstrip("\n")


def _code(line: str) -> Any:
    """With the least error correction: the fewest modules."""
    import segno

    return segno.make(line, error="l", micro=False)
