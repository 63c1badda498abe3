"""Staying in: enough links, to several hubs, and to the other half should the mesh have come apart.

Any acquaintance is as good as the peer through which this node came in. So the mesh goes on when every hub dies, and a node
finds back as long as one peer that it ever met still lives.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

import trio

from meshgen.net.port import Net, NetError, PeerId, PeerLink
from meshgen.peers.acquaintances import MOST, Acquaintance, Acquaintances
from meshgen.protocols.pulse import PROTOCOL

log = logging.getLogger(__name__)

TARGET = 6
"""Links that a node keeps up by itself, as many as gossip wants neighbours; a mesh of seven is linked all to all."""
HUBS = 2
"""Links to hubs, of these or beyond them."""
MOST_CALLS, MOST_LOST_CALLS = 2, 6
"""Dials under way; without any link there is more hurry."""
FIRST_S, LONGEST_S = 1.0, 120.0
"""An acquaintance that does not answer is called again after a second, then two, four...; a fifth more or less, by chance."""
EXPLORE_S, HURRIED_EXPLORE_S = 60.0, 15.0
"""So often one is called of whom the mesh has not heard lately, more often while links are lacking: it may live on in another
half of a mesh that came apart."""
LUCK = 3.0
"""Points of merit that chance adds: not everybody is to call the same ones."""


@dataclass(slots=True)
class _Wait:
    seconds: float
    until_s: float


class Links:
    """``look`` is to be called about once a second. ``is_present`` says of whom the mesh has heard lately."""

    def __init__(
        self, net: Net, known: Acquaintances, now_ms: Callable[[], int], rng: random.Random, is_present: Callable[[PeerId], bool]
    ) -> None:
        self._net = net
        self._known = known
        self._now_ms = now_ms
        self._rng = rng
        self._is_present = is_present
        self._linked: frozenset[PeerId] = frozenset()
        self._calling: set[PeerId] = set()
        self._waits: dict[PeerId, _Wait] = {}
        self._explore_s = trio.current_time() + HURRIED_EXPLORE_S * rng.uniform(0.5, 1.0)

    def look(self, links: Collection[PeerLink], nursery: trio.Nursery) -> None:
        """Call whom it takes; the calls are the nursery's."""
        for link in links:
            known = self._known.get(link.peer)
            if link.peer not in self._linked or (known and not known.answered):
                self._waits.pop(link.peer, None)
                self._known.answered(link.peer, _dialled(link))
        self._linked = frozenset(link.peer for link in links)
        for one in self._whom():
            self._calling.add(one.peer)
            nursery.start_soon(self._call, one)

    def at_once(self) -> None:
        """This machine slept, or moved: whoever did not answer before may do so now."""
        self._waits.clear()

    def lost(self, peer: PeerId) -> None:
        """A linked peer fell silent: that is its first failure."""
        self._known.failed(peer)
        self._wait(peer)

    # -- whom to call

    def _whom(self) -> list[Acquaintance]:
        if not self._linked:
            return self._best(lambda _: True, MOST_LOST_CALLS - len(self._calling))
        room, lacking = MOST_CALLS - len(self._calling), TARGET - len(self._linked | self._calling)
        chosen = self._best(self._present, min(room, lacking))
        if not chosen and self._hubs(self._linked | self._calling) < HUBS:
            chosen = self._best(lambda one: self._present(one) and "hub" in one.roles, min(room, 1))
        if not chosen and room > 0 and trio.current_time() >= self._explore_s:
            gap_s = HURRIED_EXPLORE_S if lacking > 0 else EXPLORE_S
            self._explore_s = trio.current_time() + gap_s * self._rng.uniform(0.75, 1.25)
            chosen = self._best(lambda one: not self._present(one), 1)
        return chosen

    def _best(self, wanted: Callable[[Acquaintance], bool], count: int) -> list[Acquaintance]:
        """Of those neither linked nor being called, and not to be waited for."""
        if count <= 0:
            return []
        now_s, now_ms, out = trio.current_time(), self._now_ms(), self._linked | self._calling
        free = [one for one in self._known if one.peer not in out and self._until(one.peer) <= now_s and wanted(one)]
        luck = {one.peer: one.worth(now_ms) + LUCK * self._rng.random() for one in free}
        return sorted(free, key=lambda one: -luck[one.peer])[:count]

    def _present(self, one: Acquaintance) -> bool:
        return self._is_present(one.peer)

    def _until(self, peer: PeerId) -> float:
        wait = self._waits.get(peer)
        return wait.until_s if wait else float("-inf")

    def _hubs(self, peers: Collection[PeerId]) -> int:
        return sum("hub" in one.roles for peer in peers if (one := self._known.get(peer)))

    # -- calling

    async def _call(self, one: Acquaintance) -> None:
        """The net asks for its addresses (:meth:`meshgen.net.port.Net.consult`), and tries all of them at once."""
        try:
            async with self._net.open(one.peer, PROTOCOL):
                pass
        except NetError as error:
            log.debug("an acquaintance does not answer: %s", error)
        finally:
            self._calling.discard(one.peer)
        if not any(link.peer == one.peer for link in self._net.links()):  # who speaks no such protocol is there all the same
            self.lost(one.peer)

    def _wait(self, peer: PeerId) -> None:
        before = self._waits.get(peer)
        seconds = min(before.seconds * 2, LONGEST_S) if before else FIRST_S
        if len(self._waits) > 2 * MOST:  # of those that were forgotten meanwhile
            self._waits.clear()
        self._waits[peer] = _Wait(seconds, trio.current_time() + seconds * self._rng.uniform(0.8, 1.2))


def _dialled(link: PeerLink) -> str:
    """Where this node dialled it; "" if it was the other way round, or through a third."""
    if not link.outbound or link.relayed or not link.address:
        return ""
    return link.address if "/p2p/" in link.address else f"{link.address}/p2p/{link.peer}"
