"""When a worker takes work: windows of the week by the clock on the wall, so that a change to summer time moves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from meshgen.settings.windows import parse_window

MINUTE_MS = 60_000
_AHEAD_MINUTES = 8 * 24 * 60
"""A window that opens in no week opens never; a day more for a change of the clocks."""

LocalTime = Callable[[int], datetime]
"""Milliseconds since the epoch as this machine's local time."""


def local_time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000)


class Hours:
    """``windows`` as the settings have them; none of them is always."""

    def __init__(self, windows: Iterable[str], local: LocalTime = local_time) -> None:
        self._windows = tuple(map(parse_window, windows))
        self._local = local
        self._found = (0, 0)  # the last change that was looked for: from when on, and when it comes

    def open_at(self, ms: int) -> bool:
        local = self._local(ms)
        minute = local.hour * 60 + local.minute
        return not self._windows or any(window.holds(local.weekday(), minute) for window in self._windows)

    def next_change(self, ms: int) -> int | None:
        """The first minute at which it is the other way round, in ms; None if it stays as it is."""
        since, change = self._found
        if since <= ms < change:
            return change
        found = self._look_ahead(ms)
        self._found = (ms, found or 0)
        return found

    def _look_ahead(self, ms: int) -> int | None:
        """Every minute is asked, because a change of the clocks opens and closes too."""
        now, start = self.open_at(ms), ms - ms % MINUTE_MS
        if not self._windows:
            return None
        minutes = range(start + MINUTE_MS, start + _AHEAD_MINUTES * MINUTE_MS, MINUTE_MS)
        return next((minute for minute in minutes if self.open_at(minute) != now), None)
