"""Staying in the mesh: signs of life, links kept up, acquaintances remembered, sleep and new addresses noticed, clocks compared.

One look a second drives it all, so that an idle node with thirty links costs next to nothing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import trio

from meshgen.net.port import Net, PeerId, PeerLink
from meshgen.peers.acquaintances import Acquaintances
from meshgen.peers.acquaintances_file import Shelf
from meshgen.peers.acquaintances_links import Links
from meshgen.peers.directory import Directory
from meshgen.peers.pulse import PATIENCE_S, WAKING_PATIENCE_S, Pulse
from meshgen.peers.pulse_wake import Wake, machine_addresses
from meshgen.peers.reaching import ReachLog

log = logging.getLogger(__name__)

LOOK_S = 1.0
SAVE_S = 10.0
"""What is new and worth it is on disk after so long at most..."""
SAVE_ALL_S = 1800.0
"""...and what only tells when somebody was seen last."""
GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a node lives. ``addresses`` are its machine's; ``shelf`` keeps its acquaintances, None: for as long as it runs."""

    addresses: Callable[[], frozenset[str]] = machine_addresses
    shelf: Shelf | None = None
    calm: bool = False
    """Nothing ever goes wrong there, as in a simulation of something else: whoever links up is met, and that is all."""


class Staying:
    """``on_link`` are asked, each in a task of its own, when a peer links up."""

    def __init__(self, net: Net, directory: Directory, now_ms: Callable[[], int], around: Surroundings) -> None:
        self._net = net
        self._directory = directory
        self._now_ms = now_ms
        self._around = around
        shelf = around.shelf
        self._rng = rng = random.Random(f"staying/{net.peer_id}")  # lest all do the same at the same time; nothing hangs on it
        self.on_link: list[Callable[[PeerId], Awaitable[None]]] = [directory.meet]
        self._met: frozenset[PeerId] = frozenset()
        self.known = Acquaintances(net.peer_id, now_ms, shelf.load() if shelf else ())
        self.pulse = Pulse(net, now_ms, rng)
        self.pulse.on_dead.append(self._lost)
        self._links = Links(net, self.known, now_ms, rng, lambda peer: directory.last_of(peer) is not None)
        self._warned = False
        self._unsaved = ""  # why acquaintances could not be kept when that was last tried
        net.consult(self.addresses)
        net.watch_reach(ReachLog(net).look)
        directory.on_advert.append(lambda signed: self.known.heard_of(PeerId(signed.peer), signed.message))

    @property
    def clocks_trouble(self) -> str:
        """Why nobody may answer, if it is this machine's clock; "" if it is not."""
        return self.pulse.clocks.trouble()

    def addresses(self, peer: PeerId) -> tuple[str, ...]:
        """Where it may be: as it says itself, and as is remembered."""
        known = self.known.get(peer)
        return tuple(dict.fromkeys([*self._directory.addresses(peer), *(known.addresses if known else ())]))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery)
            if self._around.shelf is not None:
                nursery.start_soon(self._remember, self._around.shelf)
            task_status.started()

    async def _watch(self, nursery: trio.Nursery) -> None:
        wake = Wake(self._now_ms, self._around.addresses)
        if not self._around.calm:
            await trio.sleep(LOOK_S * self._rng.random())  # not all at the same moment: one ping serves both sides of a link
        while True:
            links = self._net.links()
            self._meet(links, nursery)
            if not self._around.calm:
                self._look(links, wake.look(), nursery)
            await trio.sleep(LOOK_S)

    def _look(self, links: Collection[PeerLink], happened: str, nursery: trio.Nursery) -> None:
        if happened:
            log.info("this machine %s: every link is tried, and made anew where it is dead", happened)
            self.pulse.clocks.clear()
            self._links.at_once()
            self._directory.announce()
        self.pulse.look(links, nursery, WAKING_PATIENCE_S if happened else PATIENCE_S, at_once=bool(happened))
        self._links.look(links, nursery)
        self._tell_clock()

    def _meet(self, links: Collection[PeerLink], nursery: trio.Nursery) -> None:
        """Whoever links up is asked whom it knows, and more, once."""
        linked = frozenset(link.peer for link in links)
        if linked and not self._met:
            self._directory.announce()
        for peer in sorted(linked - self._met):
            for ask in self.on_link:
                nursery.start_soon(ask, peer)
        self._met = linked

    def _lost(self, peer: PeerId) -> None:
        self._directory.lost(peer)
        self._links.lost(peer)

    def _tell_clock(self) -> None:
        trouble = self.clocks_trouble
        if trouble and not self._warned:
            log.warning("%s", trouble)
        elif self._warned and not trouble:
            log.info("this machine's clock agrees with others' again")
        self._warned = bool(trouble)

    # -- remembering

    async def _remember(self, shelf: Shelf) -> None:
        saved, saved_s = self.known.changes, trio.current_time()
        try:
            while True:
                await trio.sleep(SAVE_S)
                if self.known.changes != saved or trio.current_time() > saved_s + SAVE_ALL_S:
                    saved, saved_s = self.known.changes, trio.current_time()
                    await self._save(shelf)
        finally:
            with trio.move_on_after(GOODBYE_S, shield=True):
                await self._save(shelf)

    async def _save(self, shelf: Shelf) -> None:
        before, self._unsaved = self._unsaved, ""
        try:
            await shelf.save(list(self.known))
        except OSError as error:
            self._unsaved = str(error)
        if self._unsaved and not before:
            log.warning("acquaintances can't be kept: %s", self._unsaved)
        elif before and not self._unsaved:
            log.info("acquaintances are kept again")
