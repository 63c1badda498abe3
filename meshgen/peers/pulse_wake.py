"""Notices that this machine slept, or that its addresses are others now: in both cases its links are to be doubted."""

from __future__ import annotations

import socket
from collections.abc import Callable

import psutil
import trio

SLEPT_S = 8.0
"""Who was away for so long has been hung up on, or soon will be."""
MOVED_EVERY_S = 3.0
"""The machine's addresses are looked at so often."""


class Wake:
    """``look`` is to be called about once a second; ``addresses`` says where this machine is."""

    def __init__(self, now_ms: Callable[[], int], addresses: Callable[[], frozenset[str]]) -> None:
        self._now_ms = now_ms
        self._addresses = addresses
        self._seen_s = self._moved_s = trio.current_time()
        self._seen_ms = now_ms()
        self._where = addresses()

    def look(self) -> str:
        """What happened since the last look: "slept", "was set" (its clock, back), "moved", or "" for nothing."""
        return self._slept() or self._moved()

    def _slept(self) -> str:
        """The monotonic clock stands still while a machine sleeps; of a process that was stopped no clock does.

        Whose wall clock was set forward is taken for a sleeper, which harms nothing.
        """
        now_s, now_ms = trio.current_time(), self._now_ms()
        ran_s, passed_s = now_s - self._seen_s, (now_ms - self._seen_ms) / 1000
        self._seen_s, self._seen_ms = now_s, now_ms
        if max(ran_s, passed_s) > SLEPT_S:
            return "slept"
        return "was set" if ran_s - passed_s > SLEPT_S else ""

    def _moved(self) -> str:
        if trio.current_time() < self._moved_s + MOVED_EVERY_S:
            return ""
        self._moved_s = trio.current_time()
        before, self._where = self._where, self._addresses()
        return "moved" if self._where != before else ""


def machine_addresses() -> frozenset[str]:
    """Where others may know this machine: the addresses of its interfaces, but for loopback and those of one cable alone."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = [each.address for held in psutil.net_if_addrs().values() for each in held if each.family in families]
    return frozenset(each for each in found if not each.startswith(("127.", "169.254.", "fe80:")) and each != "::1")
