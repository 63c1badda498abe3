"""How many different peers there are: of those heard of a sample is kept, so that a mesh of a million is counted, too."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import blake2b

SAMPLE = 1024
"""So many are remembered at most: the count is off by some 4 %."""
FEW = SAMPLE // 32
"""With fewer, the sample is widened: it takes in more of those that are heard of from then on, each for fewer."""
PLACES = 2**64


class Census:
    """Each peer has a place by a secret of this node, so nobody can choose theirs; the sample is those in the first share."""

    def __init__(self, secret: bytes = b"") -> None:
        self._secret = secret or secrets.token_bytes(32)
        self._heard: OrderedDict[int, tuple[float, int]] = OrderedDict()  # by place: when last, and how many it stands for
        self._parts = 1  # the share is one of so many

    def hear(self, peer: str, now_s: float) -> None:
        place = self._place(peer)
        if place < PLACES // self._parts:
            self._heard[place] = now_s, self._parts
            self._heard.move_to_end(place)
            while len(self._heard) > SAMPLE:
                self._narrow()

    def count(self, since_s: float) -> int:
        """Of those that were heard of since then."""
        counted = 0
        for at_s, stands_for in reversed(self._heard.values()):
            if at_s < since_s:
                break
            counted += stands_for
        return counted

    def forget(self, before_s: float) -> None:
        """Who was not heard of since."""
        while self._heard and next(iter(self._heard.values()))[0] < before_s:
            self._heard.popitem(last=False)
        if len(self._heard) < FEW:
            self._parts = max(1, self._parts // 2)

    def _narrow(self) -> None:
        self._parts *= 2
        kept = ((place, heard) for place, heard in self._heard.items() if place < PLACES // self._parts)
        self._heard = OrderedDict((place, (at_s, max(stands_for, self._parts))) for place, (at_s, stands_for) in kept)

    def _place(self, peer: str) -> int:
        return int.from_bytes(blake2b(peer.encode(), key=self._secret, digest_size=8).digest(), "big")
