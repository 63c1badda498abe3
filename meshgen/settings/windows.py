"""Times of the week as an owner writes them: ``22:00-07:00``, ``sat 10:00-18:00``, ``mon-fri``."""

from __future__ import annotations

import re
from dataclasses import dataclass

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
_TIMES = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)\s*-\s*([01]?\d|2[0-4]):([0-5]\d)", re.ASCII)
_FORM = "such as 22:00-07:00, `sat 10:00-18:00`, `mon-fri 20:00-24:00` or `sun`"


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` to before ``end``, minutes of local time, on days that count from Monday = 0.

    One that ends no later than it starts goes on into the next day.
    """

    days: frozenset[int]
    start: int
    end: int

    def holds(self, day: int, minute: int) -> bool:
        """Is it open in that minute of that day's local time?"""
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


def parse_window(text: str) -> Window:
    """Raises ValueError with words for people."""
    words = text.strip().lower()
    times = _TIMES.search(words)
    named = words[: times.start()] if times else words
    if (times and words[times.end() :]) or not words:
        raise _wrong(text)
    days = frozenset(day for word in named.split() for day in _days(word, text))
    start, end = (_minute(times[1], times[2], text), _minute(times[3], times[4], text)) if times else (0, DAY_MINUTES)
    if start in (DAY_MINUTES, end):
        raise ValueError(f"{text!r}: a window begins before 24:00 and ends at another time than it begins")
    return Window(days or frozenset(range(7)), start, end)


def _days(word: str, text: str) -> range | tuple[int, ...]:
    """``sat``, or ``fri-mon`` around the week's end."""
    first, dash, last = word.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise _wrong(text)
    start = DAYS.index(first)
    length = (DAYS.index(last) - start) % 7 if dash else 0
    return tuple((start + offset) % 7 for offset in range(length + 1))


def _minute(hour: str, minute: str, text: str) -> int:
    found = int(hour) * 60 + int(minute)
    if found > DAY_MINUTES:
        raise _wrong(text)
    return found


def _wrong(text: str) -> ValueError:
    return ValueError(f"{text[:40]!r} is no time of the week {_FORM}")
