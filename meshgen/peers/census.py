"""How many different peers there are: of those heard of a sample is kept, so that a mesh of a million is counted, too."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import blake2b

SAMPLE = 1024
"""So many are remembered at most: the count is off by some 4 %."""
FEW = SAMPLE // 32
"""With fewer, the sample is widened: it takes in more of those that are heard of from then on."""
PLACES = 2**64


class Census:
    """Each peer has a place by a secret of this node, so nobody can choose theirs; the sample is those in the first share."""

    def __init__(self, secret: bytes = b"") -> None:
        self._secret = secret or secrets.token_bytes(32)
        self._heard: OrderedDict[int, float] = OrderedDict()  # by place, who was heard of last at the end
        self._parts = 1  # the share is one of so many

    def hear(self, peer: str, now_s: float) -> None:
        place = self._place(peer)
        if place < PLACES // self._parts:
            self._heard[place] = now_s
            self._heard.move_to_end(place)
            while len(self._heard) > SAMPLE:
                self._parts *= 2
                self._heard = OrderedDict((each, at_s) for each, at_s in self._heard.items() if each < PLACES // self._parts)

    def _place(self, peer: str) -> int:
        return int.from_bytes(blake2b(peer.encode(), key=self._secret, digest_size=8).digest(), "big")

    def count(self, since_s: float) -> int:
        """Of those that were heard of since then; who was not is forgotten."""
        while self._heard and next(iter(self._heard.values())) < since_s:
            self._heard.popitem(last=False)
        counted = len(self._heard) * self._parts
        if len(self._heard) < FEW:
            self._parts = max(1, self._parts // 2)
        return counted
