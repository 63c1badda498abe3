"""Whom this node knows: addresses, roles and how they fared, so that it finds back when every door it came through is shut.

Bounded, and kept by merit. Who is only told of takes up room that is free, and is forgotten when it does not answer: a stranger
who tells of a thousand peers pushes out nobody that was ever met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from meshgen.net.port import PeerId
from meshgen.protocols.advert import MAX_ADDRESSES, Advert

MOST = 512
HALF_LIFE_MS = 24 * 3600 * 1000
"""What was good and bad of a peer counts half after so long."""
BEST, WORST = 10.0, -5.0
STANDING = {"hub": 2.0, "archivist": 1.0}
"""Who runs one of these is likely to be there tomorrow, too."""


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """``merit`` as of ``judged_ms``: a point for each time that it answered, one off for each that it did not."""

    peer: PeerId
    addresses: tuple[str, ...]
    """Multiaddrs; first the one that worked last."""
    roles: tuple[str, ...] = ()
    seen_ms: int = 0
    """Linked, or heard of."""
    answered: int = 0
    failed: int = 0
    merit: float = 0.0
    judged_ms: int = 0

    def worth(self, now_ms: int) -> float:
        """For whom to call first: forgiven and forgotten in time."""
        faded = 0.5 ** (max(0, now_ms - self.judged_ms) / HALF_LIFE_MS)
        return self.merit * float(faded) + sum(STANDING.get(role, 0.0) for role in self.roles)


class Acquaintances:
    """``MOST`` of them. ``changes`` counts what is worth to be kept: somebody new who answered, or an address that is new."""

    def __init__(self, own: PeerId, now_ms: Callable[[], int], known: Iterable[Acquaintance] = ()) -> None:
        self._own = own
        self._now_ms = now_ms
        self._known = {each.peer: each for each in list(known)[:MOST] if each.peer != own}
        self.changes = 0

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Acquaintance]:
        return iter(list(self._known.values()))

    def get(self, peer: PeerId) -> Acquaintance | None:
        return self._known.get(peer)

    def heard_of(self, peer: PeerId, advert: Advert) -> None:
        """It says itself where it is."""
        known = self._known.get(peer)
        tried = [address for address in known.addresses[:1] if address in advert.addresses] if known else []
        addresses = tuple(dict.fromkeys([*tried, *advert.addresses]))[:MAX_ADDRESSES]
        if addresses and (known or len(self._known) < MOST):
            self._put(replace(known or Acquaintance(peer, ()), addresses=addresses, roles=advert.roles, seen_ms=self._now_ms()))

    def answered(self, peer: PeerId, address: str = "") -> None:
        """It linked up; ``address`` is where this node sees it, if it was this node that called."""
        known = self._known.get(peer) or Acquaintance(peer, ())
        addresses = tuple(dict.fromkeys([address, *known.addresses] if address else known.addresses))[:MAX_ADDRESSES]
        if addresses:
            judged = self._judged(known, 1.0)
            self._put(replace(judged, addresses=addresses, answered=known.answered + 1, seen_ms=self._now_ms()))

    def failed(self, peer: PeerId) -> None:
        """It did not answer at any of its addresses, or fell silent."""
        known = self._known.get(peer)
        if known and not known.answered:
            del self._known[peer]
        elif known:
            self._known[peer] = replace(self._judged(known, -1.0), failed=known.failed + 1)

    def _judged(self, known: Acquaintance, points: float) -> Acquaintance:
        now = self._now_ms()
        standing = sum(STANDING.get(role, 0.0) for role in known.roles)
        merit = min(BEST, max(WORST, known.worth(now) - standing + points))
        return replace(known, merit=merit, judged_ms=now)

    def _put(self, one: Acquaintance) -> None:
        before = self._known.get(one.peer)
        if one.peer == self._own or (before is None and not self._has_room(one)):
            return
        if one.answered and (before is None or not before.answered or before.addresses != one.addresses):
            self.changes += 1
        self._known[one.peer] = one

    def _has_room(self, one: Acquaintance) -> bool:
        """There is, or is made: the least goes, if the new one is more."""
        if len(self._known) < MOST:
            return True
        least = min(self._known.values(), key=self._rank)
        if self._rank(least) >= self._rank(one):
            return False
        del self._known[least.peer]
        return True

    def _rank(self, one: Acquaintance) -> tuple[bool, float, int]:
        return one.answered > 0, one.worth(self._now_ms()), one.seen_ms
