"""What happened, in order, as one digest: two runs are the same if and only if their traces are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

from meshgen.net.memory import Event


class Trace:
    """Everything that crossed the mesh or was done to it. ``listeners`` hear each event as it happens; they must not raise."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.counts: Counter[str] = Counter()
        self.listeners: list[Callable[[Event], None]] = []

    def __call__(self, event: Event) -> None:
        head = "\0".join((repr(event.at_s), event.kind, event.peer, event.name, str(len(event.data)), ""))
        self._hash.update(head.encode())
        self._hash.update(event.data)
        self.counts[event.kind] += 1
        for listener in self.listeners:
            listener(event)

    def digest(self) -> str:
        """Of all so far, as 32 hexadecimal digits."""
        return self._hash.hexdigest()
