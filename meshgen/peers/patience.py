"""How long a job waits for workers."""

from __future__ import annotations

import trio

from meshgen.net.port import Net

CUT_OFF_S = 20.0
"""A node that was linked and is not any more may be on its way to another network, as a laptop is: its jobs wait so much longer.
Or all others have died, and nobody should wait for ever to hear it."""


class Patience:
    """Over after ``seconds`` without a start; while this node is cut off, the time stands still."""

    def __init__(self, net: Net, seconds: float) -> None:
        self._net = net
        self._seconds = seconds
        self._was_linked = False
        self._cut_off_s: float | None = None
        self.renew()

    def renew(self) -> None:
        self._until_s = trio.current_time() + self._seconds

    def is_over(self) -> bool:
        """To be asked in every round."""
        now = trio.current_time()
        if self._net.links():
            self._was_linked, self._cut_off_s = True, None
        elif self._was_linked:
            self._cut_off_s = self._cut_off_s or now
            if now < self._cut_off_s + CUT_OFF_S:
                self.renew()
        return now >= self._until_s
