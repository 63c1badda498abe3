"""How peers behave, and what follows: a score that faults raise and time lowers; who is kept out, and until when.

Pure: the caller brings the clock. A peer that reaches LIMIT is kept out for FIRST_S, for twice as long each time that it comes
to that again, for LONGEST_S at most; after LONGEST_S without a fault, the count starts anew. Whoever an owner keeps out is
kept out until the owner says otherwise, whatever its score.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

from meshgen.net.port import PeerId

LIMIT = 100.0
HALF_LIFE_S = 30.0
"""A score halves in this time: 100 points in one go cut a peer off, two points a second never do."""
FIRST_S = 60.0
LONGEST_S = 3600.0
MOST_MERIT = 1000.0
FRIEND_MERIT = 3.0
"""Who did so much for this node is no stranger: limits that are there for strangers are not for it."""
MET_MERIT, MEETING_MERIT = 0.9, 0.02
"""Who is there and answers earns so much, a bit at a time: more than a stranger has, and less than any work earns."""
MAX_PEERS = 4096
"""Peers whose faults are remembered; who was least lately at fault is forgotten first."""


class Fault(IntEnum):
    """What a peer can do wrong, and what it costs. An honest peer with an old clock or a full line stays far below LIMIT."""

    REFUSED = 1
    """Asked for more than its share: a stream over the limit, a message over the rate."""
    SLOW = 10
    """Left a window unread, or a message half sent, until patience was over."""
    JUNK = 4
    """Gossip that the validators refuse, forwarded or its own: a neighbour that forwards it does not validate."""
    MALFORMED = 25
    """Bytes that no implementation of the protocol would send."""


@dataclass(slots=True)
class _Record:
    score: float = 0.0
    at_s: float = 0.0
    times: int = 0
    shut_until_s: float = 0.0


class Conduct:
    """``now_s`` is a clock that never goes back."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._records: OrderedDict[PeerId, _Record] = OrderedDict()
        self._merits: OrderedDict[PeerId, float] = OrderedDict()
        self._shut: dict[PeerId, float] = {}  # by the owner, or a role

    def blame(self, peer: PeerId, points: float) -> bool:
        """Put a fault down to a peer; True if that was one too many: it is kept out from now on, hang up on it."""
        now = self._now_s()
        record = self._records.setdefault(peer, _Record(at_s=now))
        self._records.move_to_end(peer)
        if now < record.shut_until_s:
            return False
        if now - max(record.at_s, record.shut_until_s) > LONGEST_S:
            record.times = 0
        record.score = self._faded(record, now) + points
        record.at_s = now
        if len(self._records) > MAX_PEERS:
            self._records.popitem(last=False)
        if record.score < LIMIT:
            return False
        record.score = 0.0
        record.shut_until_s = now + min(FIRST_S * 2**record.times, LONGEST_S)
        record.times = min(record.times + 1, 32)
        return True

    def score(self, peer: PeerId) -> float:
        """From 0 (nothing known against it) to LIMIT."""
        record = self._records.get(peer)
        return self._faded(record, self._now_s()) if record else 0.0

    def thank(self, peer: PeerId, points: float) -> None:
        """Remember that a peer did something for this node: it keeps its connection when others have to go."""
        self._merits[peer] = min(self._merits.get(peer, 0.0) + points, MOST_MERIT)
        self._merits.move_to_end(peer)
        if len(self._merits) > MAX_PEERS:  # fresh keys push out no friend
            strangers = (each for each, merit in self._merits.items() if merit < FRIEND_MERIT)
            del self._merits[next(strangers, next(iter(self._merits)))]

    def meet(self, peer: PeerId) -> None:
        """Remember that a peer was there and answered for a while, without a fault."""
        if self.score(peer) < Fault.REFUSED and self.merit(peer) < MET_MERIT:
            self.thank(peer, MEETING_MERIT)

    def is_friend(self, peer: PeerId) -> bool:
        return self.merit(peer) >= FRIEND_MERIT

    def merit(self, peer: PeerId) -> float:
        return self._merits.get(peer, 0.0)

    def shut(self, peer: PeerId, for_s: float) -> None:
        """Keep a peer out for so long, math.inf for good; never shorter than it is already."""
        if for_s > 0:
            self._shut[peer] = max(self._shut.get(peer, 0.0), self._now_s() + for_s)

    def pardon(self, peer: PeerId) -> None:
        """Let it in again, whatever it was kept out for."""
        self._shut.pop(peer, None)
        if record := self._records.get(peer):
            record.shut_until_s = 0.0

    def is_shut(self, peer: PeerId) -> bool:
        return self.shut_for_s(peer) > 0

    def shut_for_s(self, peer: PeerId) -> float:
        """How much longer it is kept out; 0 if it may come in."""
        now = self._now_s()
        record = self._records.get(peer)
        until = max(self._shut.get(peer, 0.0), record.shut_until_s if record else 0.0)
        return max(0.0, until - now)

    def kept_out(self) -> int:
        """How many peers may not come in now."""
        return sum(self.is_shut(peer) for peer in {*self._shut, *self._records})

    def sweep(self) -> None:
        """Forget what is over."""
        now = self._now_s()
        self._merits = OrderedDict((peer, merit * 0.99) for peer, merit in self._merits.items() if merit > 0.01)
        self._shut = {peer: until for peer, until in self._shut.items() if until > now}
        for peer, record in list(self._records.items()):
            if now - max(record.at_s, record.shut_until_s) > LONGEST_S:
                del self._records[peer]

    def _faded(self, record: _Record, now_s: float) -> float:
        return record.score * math.exp2(-(now_s - record.at_s) / HALF_LIFE_S)


class Bucket:
    """Holds ``burst`` tokens at most; ``rate_s`` come in each second. Full at first."""

    __slots__ = ("_at_s", "_burst", "_level", "_now_s", "_rate_s")

    def __init__(self, rate_s: float, burst: float, now_s: Callable[[], float]) -> None:
        self._rate_s = rate_s
        self._burst = burst
        self._now_s = now_s
        self._level = burst
        self._at_s = now_s()

    def take(self, count: float = 1.0) -> bool:
        """Take so many; False, and none are taken, when there are not as many."""
        self._fill()
        if self._level < count:
            return False
        self._level -= count
        return True

    def owe(self, count: float = 1.0) -> float:
        """Take them in any case; the seconds to wait until that is made up for, 0 if there were enough."""
        self._fill()
        self._level -= count
        return max(0.0, -self._level / self._rate_s)

    def _fill(self) -> None:
        now = self._now_s()
        self._level = min(self._burst, self._level + (now - self._at_s) * self._rate_s)
        self._at_s = now


class Buckets:
    """Buckets by name. At most ``most`` are remembered; the least lately used is forgotten, and then full again."""

    def __init__(self, rate_s: float, burst: float, now_s: Callable[[], float], most: int = MAX_PEERS) -> None:
        self._make = partial(Bucket, rate_s, burst, now_s)
        self._most = most
        self._buckets: OrderedDict[object, Bucket] = OrderedDict()

    def take(self, name: object, count: float = 1.0) -> bool:
        return self._of(name).take(count)

    def owe(self, name: object, count: float = 1.0) -> float:
        return self._of(name).owe(count)

    def _of(self, name: object) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = self._make()
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        return bucket
