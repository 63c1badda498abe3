"""Jobs that found nobody wait here before they offer again: few soon, many in turn."""

from __future__ import annotations

import trio

GAP_S = 2.0
"""After a round that brought nobody, and before the same offer is made again."""
MOST_PER_S = 20
"""So many of those that wait offer again in a second: each offer is signed and answered, and a thousand would keep a node and its
workers busy with nothing but that."""


class Line:
    def __init__(self) -> None:
        self._waiting: dict[trio.Event, None] = {}

    async def wait(self, wake: trio.Event) -> None:
        """Until ``wake``, or until it is time to try again; :meth:`move` sets ``wake``."""
        self._waiting[wake] = None
        try:
            with trio.move_on_after(max(GAP_S, len(self._waiting) / MOST_PER_S)):
                await wake.wait()
        finally:
            self._waiting.pop(wake, None)

    def move(self) -> None:
        """Somebody found a worker, so there may be room for who has waited longest."""
        if self._waiting:
            first = next(iter(self._waiting))
            del self._waiting[first]
            first.set()
