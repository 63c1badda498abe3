"""Reservations: a node that others can't dial has some relays keep it reachable, and replaces one that went away at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from meshgen.net.guard import log
from meshgen.net.libp2p.reach import is_direct
from meshgen.net.libp2p.relay import TAG
from meshgen.net.libp2p.relay_client import Circuits, Held
from meshgen.net.libp2p.relay_wire import HOP
from meshgen.net.port import PeerId, Unreachable

WANTED = 2
"""One may go away while the other carries on."""
RENEW_S = 900.0
"""A reservation is renewed after this, or half its lifetime if that is sooner: the relay's clock may be another."""
AGAIN_FIRST_S = 15.0
AGAIN_MOST_S = 600.0
"""A peer that refused is asked again after the first, then twice as late each time."""
LOOK_UP_S = 60.0
"""So often the network is asked for relays while there are too few among the peers at hand."""
TICK_S = 5.0
MAX_REFUSALS = 256
KEY = "/meshgen/relay/1"
"""Relays announce that they provide it."""


@dataclass(frozen=True, slots=True)
class _Kept:
    held: Held
    connection: Any
    renew_at_s: float


class Relays:
    """Keeps WANTED reservations for as long as ``needed()``."""

    def __init__(
        self,
        host: Any,
        circuits: Circuits,
        needed: Callable[[], bool],
        changed: Callable[[], None],
        preferred: Iterable[ID],
        find: Callable[[], Awaitable[list[PeerId]]],
        connect: Callable[[ID], Awaitable[None]],
        is_welcome: Callable[[PeerId], bool],
    ) -> None:
        """``preferred`` are the peers to join through; ``find`` asks the network for others, ``connect`` dials one of them;
        ``is_welcome``: may this peer be a relay? None is asked, or kept, that may not."""
        self._host = host
        self._swarm = host.get_network()
        self._needed = needed
        self._changed = changed
        self._preferred = frozenset(preferred)
        self._find = find
        self._connect = connect
        self._is_welcome = is_welcome
        self._circuits = circuits
        self._kept: dict[ID, _Kept] = {}
        self._refused: dict[ID, tuple[int, float]] = {}
        self._look_up_at_s = 0.0
        self._wake = trio.Event()

    def wake(self) -> None:
        """Something changed: look now."""
        self._wake.set()

    def forgive(self) -> None:
        """Those that refused may take this node on now."""
        self._refused.clear()
        self.wake()

    @property
    def held(self) -> list[Held]:
        """The reservations that stand, those of preferred relays first."""
        alive = [kept.held for kept in self._kept.values() if is_direct(kept.connection)]
        return sorted(alive, key=lambda held: (held.relay not in self._preferred, str(held.relay)))

    def addresses(self) -> list[Multiaddr]:
        """What others dial; this node's own ``/p2p/`` is not at their end yet."""
        return [address for held in self.held for address in held.addresses]

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                self._drop_lost()
                if self._needed():
                    await self._renew()
                    await self._fill_up()
                    if len(self._kept) < WANTED and trio.current_time() >= self._look_up_at_s:
                        self._look_up_at_s = trio.current_time() + LOOK_UP_S
                        nursery.start_soon(self._look_up)
                with trio.move_on_at(self._next_s()):
                    await self._wake.wait()

    def _next_s(self) -> float:
        """When to look again though nothing happens. Those that are not needed any more are left to end."""
        now = trio.current_time()
        ahead = [at_s for kept in self._kept.values() for at_s in (kept.renew_at_s, kept.held.until_s) if at_s > now]
        return min([now + TICK_S, *ahead])

    def _drop_lost(self) -> None:
        now = trio.current_time()
        standing = (
            relay
            for relay, kept in self._kept.items()
            if kept.held.until_s > now and is_direct(kept.connection) and self._is_welcome(PeerId(str(relay)))
        )
        lost = self._kept.keys() - standing
        for relay in lost:
            log.info("a relay is lost to this node; %d left", len(self._kept) - 1)
            self._forget(relay)
        if lost:
            self._look_up_at_s = 0.0  # nobody else may be at hand
            self._changed()

    def _forget(self, relay: ID) -> None:
        del self._kept[relay]
        self._circuits.expected.discard(relay)
        self._swarm.unprotect(relay, TAG)

    async def _renew(self) -> None:
        for relay, kept in list(self._kept.items()):
            if kept.renew_at_s <= trio.current_time() and not await self._reserve(relay):
                self._forget(relay)
                self._changed()

    async def _fill_up(self) -> None:
        for relay in self._candidates():
            if len(self._kept) >= WANTED:
                return
            if await self._reserve(relay):
                self._changed()

    def _candidates(self) -> list[ID]:
        """Peers at hand that say they are relays: those to join through first, then the nearest."""
        peerstore = self._host.get_peerstore()
        near = {each.muxed_conn.peer_id: each.muxed_conn.rtt() for each in self._swarm.get_connections() if is_direct(each)}
        open_to_us = [
            peer
            for peer in near
            if peer not in self._kept
            and self._may_ask(peer)
            and peerstore.supports_protocols(peer, [HOP])
            and self._is_welcome(PeerId(str(peer)))
        ]
        return sorted(open_to_us, key=lambda peer: (peer not in self._preferred, near[peer]))

    async def _reserve(self, relay: ID) -> bool:
        """Ask for, or renew, one reservation."""
        connection = next(filter(is_direct, self._swarm.get_connections(relay)), None)
        if connection is None:
            return False
        try:
            self._circuits.expected.add(relay)  # its first circuit may overtake its answer
            held = await self._circuits.reserve(relay)
        except Unreachable as error:
            log.info("not taken on by a relay, another is asked: %s", error)
            self._circuits.expected.discard(relay)
            self._note_refusal(relay)
            return False
        now = trio.current_time()
        self._refused.pop(relay, None)
        self._swarm.protect(relay, TAG)
        self._kept[relay] = _Kept(held, connection, now + min(RENEW_S, (held.until_s - now) / 2))
        return True

    def _may_ask(self, relay: ID) -> bool:
        return self._refused.get(relay, (0, 0.0))[1] <= trio.current_time()

    def _note_refusal(self, relay: ID) -> None:
        times = self._refused.pop(relay, (0, 0.0))[0]
        if len(self._refused) >= MAX_REFUSALS:
            del self._refused[next(iter(self._refused))]
        self._refused[relay] = (min(times + 1, 16), trio.current_time() + min(AGAIN_FIRST_S * 2**times, AGAIN_MOST_S))

    async def _look_up(self) -> None:
        """Among the peers at hand there are too few: connect to relays that the network knows of."""
        found = [ID.from_base58(peer) for peer in await self._find() if self._is_welcome(peer)]
        for relay in [each for each in found if each not in self._kept and self._may_ask(each)][:WANTED]:
            try:
                await self._connect(relay)
            except Unreachable:
                self._note_refusal(relay)
