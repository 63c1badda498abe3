"""``--since``: an entry's number, a date, or a span such as 2d."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from meshgen.protocols.credit import Entry

SPANS = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_SPAN = re.compile(r"(\d{1,6})\s*([mhdw])", re.ASCII)
HELP = "From an entry's number, a UTC date (2026-05-01, 2026-05-01T12:00) or a span back (90m, 12h, 2d, 3w)."


@dataclass(frozen=True, slots=True)
class Since:
    """Entries from number ``seq`` on, made at ``ms`` or later."""

    text: str = ""
    seq: int = 1
    ms: int = 0

    def admits(self, entry: Entry) -> bool:
        return entry.seq >= self.seq and entry.ts_ms >= self.ms


def parse_since(text: str, now_ms: int | None = None) -> Since:
    """ "" is the beginning. Raises click.BadParameter."""
    text = text.strip()
    if not text:
        return Since()
    if text.isascii() and text.isdigit() and 1 <= int(text) < 2**53:
        return Since(text, seq=int(text))
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    if match := _SPAN.fullmatch(text):
        return Since(text, ms=max(0, now_ms - int(match[1]) * SPANS[match[2]] * 1000))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text[:40]!r} is no entry's number, date or span", param_hint="--since") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Since(text, ms=max(0, round(moment.timestamp() * 1000)))


def parse_span(text: str, hint: str) -> int:
    """Milliseconds in "30d". Raises click.BadParameter."""
    match = _SPAN.fullmatch(text.strip())
    if not match or not int(match[1]):
        raise click.BadParameter(f"{text[:40]!r} is no span such as 12h, 30d or 8w", param_hint=hint)
    return int(match[1]) * SPANS[match[2]] * 1000
