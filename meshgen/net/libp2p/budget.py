"""How much of what peers have sent waits in this node's memory: one budget for all connections together.

Each connection has limits of its own (see :mod:`frames`, :mod:`wire`), and all together would fill any machine. Up to half of the
budget nobody is held back. Above that, who holds more than an equal share is not read from until it holds less: what it sends on
waits at its own side, and so do its pongs, which ends its connection when that lasts. Above the whole, the stranger that holds
most is let go at once; where there is none, the one that this node dialled: peers that it never chose name whom it dials.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

import psutil
import trio

from meshgen.net.port import MAX_MESSAGE_BYTES

MOST_BYTES, LEAST_BYTES = 256 * 1024 * 1024, 32 * 1024 * 1024
OF_MEMORY = 8
"""One part in so many of the machine's memory, or of what its container may have, between these two."""
SHARE_BYTES = MAX_MESSAGE_BYTES + 256 * 1024
"""Who holds no more is read from in any case: the largest message and a window beside it, or no message would ever be whole."""
RECOUNT_S = 1.0
"""What libp2p's own services read is not told: who waits counts anew so often."""
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


class Standing(IntEnum):
    """Who is less goes first; above STRANGER nobody is held back before all is full."""

    STRANGER = 0
    DIALLED = 1
    """By this node."""
    FRIEND = 2
    """Never let go."""


class Budget:
    """``total`` in bytes; 0 = what the machine can afford."""

    def __init__(self, total: int = 0) -> None:
        self.total = total or affordable()
        self.held = 0
        self.holders: set[Account] = set()
        self.freed = trio.lowlevel.ParkingLot()

    def open(self, count: Callable[[], int], standing: Callable[[], Standing], let_go: Callable[[], None]) -> Account:
        """A connection's account. ``count`` says how many bytes it holds now; ``let_go`` ends it, and must not block."""
        return Account(self, count, standing, let_go)

    def is_over(self, account: Account) -> bool:
        """Does it hold more than its share, now that there is little left? Strangers are held back first."""
        if account.held <= SHARE_BYTES or self.held <= (self.total if account.standing() else self.total // 2):
            return False
        return account.held > self.total // 2 // len(self.holders)

    def make_room(self) -> None:
        """Let others than friends go, those that hold most first, until the rest fits in."""
        while self.held > self.total:
            others = [each for each in self.holders if each.standing() < Standing.FRIEND]
            if not others:
                return
            min(others, key=lambda each: (each.standing(), -each.held)).evict()


class Account:
    """What one connection holds."""

    def __init__(
        self, budget: Budget, count: Callable[[], int], standing: Callable[[], Standing], let_go: Callable[[], None]
    ) -> None:
        self._budget = budget
        self._count = count
        self._let_go = let_go
        self._is_open = True
        self.standing = standing
        self.held = 0

    def update(self) -> None:
        """Count again: to be called whenever something came in or was read."""
        if self._is_open:
            self._hold(self._count())
            self._budget.make_room()

    async def room(self) -> None:
        """Count again, and wait until this connection may be read from."""
        self.update()
        while self._is_open and self._budget.is_over(self):
            with trio.move_on_after(RECOUNT_S):
                await self._budget.freed.park()
            self.update()

    def evict(self) -> None:
        self.close()
        self._let_go()

    def close(self) -> None:
        """It holds nothing more, and will not."""
        self._is_open = False
        self._hold(0)

    def _hold(self, count: int) -> None:
        before, self.held = self.held, count
        self._budget.held += count - before
        if count:
            self._budget.holders.add(self)
        else:
            self._budget.holders.discard(self)
        if count < before:
            self._budget.freed.unpark_all()


@lru_cache(maxsize=1)
def affordable() -> int:
    """Bytes."""
    memory: int = psutil.virtual_memory().total
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        memory = min(memory, int(_CONTAINER.read_text()))
    return max(LEAST_BYTES, min(MOST_BYTES, memory // OF_MEMORY))
