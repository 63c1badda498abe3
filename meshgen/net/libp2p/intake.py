"""How much gossip a node takes in, from whom, and in which order.

The answer when there is too much: a neighbour is read more slowly, so that what waits, waits at its side; what one origin says
beyond its rate is dropped; and who says it over a connection of its own bears it. Neighbours take turns, message by message, so
a loud one does not delay the others, and those that did something for this node do not wait for strangers.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from meshgen.net.conduct import Bucket, Buckets, Conduct, Fault
from meshgen.net.port import PeerId

MESSAGES_S, MESSAGES_BURST = 100.0, 400.0
"""From one neighbour, whoever's they are."""
BYTES_S, BYTES_BURST = 512 * 1024.0, 4 * 1024 * 1024.0
ORIGIN_S, ORIGIN_BURST = 10.0, 100.0
"""Of one origin over one neighbour: anybody can *say* that a message is somebody else's, but not use up his rate elsewhere."""
FRESH_S, FRESH_BURST = 100.0, 400.0
"""New messages from all strangers together: each costs two signature checks, and the forwarding."""


class Intake:
    """``blame`` is told who said too much."""

    def __init__(self, conduct: Conduct, blame: Callable[[PeerId, float], None]) -> None:
        self._conduct = conduct
        self._blame = blame
        self._messages = Buckets(MESSAGES_S, MESSAGES_BURST, time.monotonic)
        self._bytes = Buckets(BYTES_S, BYTES_BURST, time.monotonic)
        self._origins = Buckets(ORIGIN_S, ORIGIN_BURST, time.monotonic)
        self._fresh = Bucket(FRESH_S, FRESH_BURST, time.monotonic)
        self._turns = trio.Lock()

    async def pace(self, neighbour: PeerId, messages: int, size: int) -> None:
        """Wait before more is read of a neighbour."""
        wait_s = max(self._messages.owe(neighbour, messages), self._bytes.owe(neighbour, size))
        if wait_s > 0:
            await trio.sleep(wait_s)

    def admits(self, neighbour: PeerId, origin: PeerId) -> bool:
        """May this origin say one more thing? Asked before its signature is checked."""
        if self._conduct.is_shut(origin):
            return False
        if self._origins.take((neighbour, origin)):
            return True
        if neighbour == origin:
            self._blame(neighbour, Fault.REFUSED)
        return False

    async def turn(self, neighbour: PeerId) -> None:
        """Wait until one new message of this neighbour's may be looked at: first come, first served, one each."""
        if self._conduct.is_friend(neighbour):
            return
        async with self._turns:
            wait_s = self._fresh.owe()
            if wait_s > 0:
                await trio.sleep(wait_s)
