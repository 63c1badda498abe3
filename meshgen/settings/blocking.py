"""A line of a block list: whom, until when, and why, as people write it: ``12D3KooW... until 2026-11-29 (sends noise)``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_WHY = 120
_WHO = r"12D3KooW[1-9A-HJ-NP-Za-km-z]{44}|[0-9a-f]{64}"
_LINE = re.compile(rf"({_WHO})(?: until (\d{{4}}-\d\d-\d\d(?:T\d\d:\d\dZ)?))?(?: \(([^()]{{1,{MAX_WHY}}})\))?")


@dataclass(frozen=True, slots=True)
class Block:
    """``who`` is a peer id, or an account's id in hex. ``until_ms``: milliseconds since 1970; 0 = for good."""

    who: str
    until_ms: int = 0
    why: str = ""

    def holds(self, now_ms: int) -> bool:
        return not self.until_ms or self.until_ms > now_ms

    def __str__(self) -> str:
        until = f" until {datetime.fromtimestamp(self.until_ms / 1000, UTC):%Y-%m-%dT%H:%MZ}" if self.until_ms else ""
        return self.who + until + (f" ({self.why})" if self.why else "")


def parse_block(line: str) -> Block:
    """Raises ValueError with words for people."""
    match = _LINE.fullmatch(line)
    if not match:
        raise ValueError(
            f"{line[:100]!r} does not name a peer or account to block: a peer id, as `meshgen peers` shows it, or an account id "
            f"of 64 hex digits; behind it, if you like, `until 2031-12-24` and (why), in plain letters, {MAX_WHY} at most"
        )
    try:
        until = datetime.fromisoformat(match[2]) if match[2] else None
    except ValueError:
        raise ValueError(f"{line[:100]!r}: there is no such day or hour as {match[2]}") from None
    until_ms = round(until.replace(tzinfo=UTC).timestamp() * 1000) if until else 0
    return Block(match[1], until_ms, match[3] or "")


def block_line(line: str) -> str:
    """The line, unchanged. Raises ValueError."""
    parse_block(line)
    if not line.isascii() or not line.isprintable():
        raise ValueError(f"{line[:100]!r}: use plain letters, digits and signs only (ASCII)")
    return line
