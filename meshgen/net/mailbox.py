"""A bounded queue between a network that never waits and a reader that may be slow: it drops the oldest."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Mailbox(Generic[T]):
    """``put`` never blocks; iterate to read. At most ``size`` items wait; ``dropped`` counts what was lost."""

    def __init__(self, size: int) -> None:
        self._items: deque[T] = deque(maxlen=size)
        self._readers = trio.lowlevel.ParkingLot()
        self.dropped = 0

    def put(self, item: T) -> None:
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(item)
        self._readers.unpark()

    def __aiter__(self) -> Mailbox[T]:
        return self

    async def __anext__(self) -> T:
        await trio.lowlevel.checkpoint()
        while not self._items:
            await self._readers.park()
        return self._items.popleft()
