"""How many pictures who has no standing may have drawn: a token bucket a peer, full at first, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

MAX_PEERS = 4096
"""Buckets that are kept; of more peers, those that took least lately start anew."""
UNLIMITED = 2**31


class Allowance:
    """Times in seconds, of any clock that only goes forward."""

    def __init__(self) -> None:
        self._taken: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # peer -> (tokens that were left, when)

    def left(self, peer: bytes, per_minute: int, now_s: float) -> int:
        """Pictures that this peer may have now; ``per_minute`` = 0 sets no limit."""
        return int(self._tokens(peer, per_minute, now_s)) if per_minute else UNLIMITED

    def take(self, peer: bytes, pictures: int, per_minute: int, now_s: float) -> None:
        if not per_minute:
            return
        self._taken[peer] = self._tokens(peer, per_minute, now_s) - pictures, now_s
        self._taken.move_to_end(peer)
        if len(self._taken) > MAX_PEERS:
            self._taken.popitem(last=False)

    def _tokens(self, peer: bytes, per_minute: int, now_s: float) -> float:
        left, at_s = self._taken.get(peer, (float(per_minute), now_s))
        return min(per_minute, left + (now_s - at_s) * per_minute / 60)
