"""What others' clocks say of this one: told to the owner and never applied. Peers' clocks are claims, and claims move nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from meshgen.net.port import PeerId

HURTS_MS = 30_000
"""From here on offers, bids and adverts begin to look expired, here or elsewhere."""
FRESH_S = 600.0
"""A peer's last word counts so long."""
MAX_VOICES = 256


class Clocks:
    """``elapsed_s`` is a clock that nobody sets."""

    def __init__(self, elapsed_s: Callable[[], float]) -> None:
        self._elapsed_s = elapsed_s
        self._ahead: OrderedDict[PeerId, tuple[float, int]] = (
            OrderedDict()
        )  # when it was told; how far theirs is ahead of this one

    def take(self, peer: PeerId, ahead_ms: int) -> None:
        """A peer's clock is so far ahead of this one, as it says itself. One voice a peer."""
        self._ahead.pop(peer, None)
        self._ahead[peer] = self._elapsed_s(), ahead_ms
        while len(self._ahead) > MAX_VOICES:
            self._ahead.popitem(last=False)

    def clear(self) -> None:
        """This clock may have been set: what was told of it is void."""
        self._ahead.clear()

    def _voices(self) -> list[int]:
        oldest_s = self._elapsed_s() - FRESH_S
        while self._ahead and next(iter(self._ahead.values()))[0] < oldest_s:
            self._ahead.popitem(last=False)
        return sorted(ahead for _, ahead in self._ahead.values())

    @property
    def peers(self) -> int:
        return len(self._voices())

    def skew_ms(self) -> int | None:
        """How far this clock is ahead of others', by their median; None while nobody has said anything.

        Of two in the middle the milder counts: half of all must lie, and one more, to raise a false alarm.
        """
        voices = self._voices()
        if not voices:
            return None
        middle = voices[(len(voices) - 1) // 2], voices[len(voices) // 2]
        return 0 if middle[0] < 0 < middle[1] else -min(middle, key=abs)

    def trouble(self) -> str:
        """In a sentence for its owner, with the cure; "" if there is none."""
        skew = self.skew_ms()
        if skew is None or abs(skew) < HURTS_MS:
            return ""
        off = f"this machine's clock is {span(abs(skew))} {'ahead of' if skew > 0 else 'behind'}"
        if self.peers == 1:
            return f"{off} that of the only peer it hears, and one takes the other's word for expired: set both by network time"
        return f"{off} other peers' clocks, so they take its word for expired, or it theirs: set it by network time"

    def status(self) -> dict[str, Any]:
        return {"skew_ms": self.skew_ms(), "peers": self.peers}


def span(ms: int) -> str:
    """A time span for people."""
    seconds = ms / 1000
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size or size == 1:
            number = round(seconds / size)
            return f"{number} {unit}{'s' * (number != 1)}"
    raise AssertionError
