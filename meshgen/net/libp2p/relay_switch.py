"""The circuits that a relay carries: who may have how many, how fast their bytes go, and when one ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

import trio
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID

from meshgen.net.libp2p.relay_wire import Pipe

CIRCUITS_PER_PAIR = 8
"""From one peer to one other, while half of what that one is granted is free; after that one: each newcomer finds room longer."""
SHARE = 4
"""Keys cost nothing: one household has a part in so many at most, of what a peer is granted, and of all."""
IDLE_S = 120.0
"""A circuit without a byte for so long ends. Connections ping every few seconds: there is none on it, or its ends are gone."""


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What a node carries for others. A circuit lasts for as long as something moves on it: a picture takes minutes."""

    always: bool = False
    """Also while others can't dial this node: a hub on a LAN, say."""
    reservations: int = 64
    circuits: int = 1024
    circuits_per_peer: int = 128
    """Circuits that one peer may have open, counting those to it and those from it."""
    bytes_per_s: int = 0
    """Of all circuits together, both ways; 0 = as fast as they go."""
    reservation_s: float = 3600.0
    """How long a reservation lasts unless it is renewed."""


@dataclass(eq=False, slots=True)
class Circuit:
    """``home``: the household of its source, "" for one that shares no limit."""

    source: ID
    target: ID
    home: str
    heard_s: float
    """When its last bytes came, by trio's clock."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def ends(self) -> tuple[ID, ID]:
        return self.source, self.target

    @property
    def counted(self) -> tuple[object, ...]:
        """What it counts for."""
        return self.source, self.target, self.ends, (self.home, self.target), self.home


class Switch:
    """All circuits of one relay."""

    def __init__(self, limits: RelayLimits) -> None:
        self._limits = limits
        self._open: set[Circuit] = set()
        self._held: Counter[object] = Counter()
        self._line = _Line(limits.bytes_per_s)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def carried(self) -> int:
        """Bytes, both ways."""
        return self._line.carried

    def has_room(self, source: ID, target: ID, home: str) -> bool:
        """For one more circuit between these, asked for from that household."""
        held, most = self._held, self._limits.circuits_per_peer
        return (
            len(self._open) < self._limits.circuits
            and max(held[source], held[target]) < most
            and held[source, target] < (CIRCUITS_PER_PAIR if 2 * held[target] < most else 1)
            and (not home or held[home, target] < _share(most))
            and (not home or held[home] < _share(self._limits.circuits))
        )

    @contextmanager
    def opened(self, source: ID, target: ID, home: str) -> Iterator[Circuit]:
        """Counted for as long as the block runs, which is cancelled when the circuit is to end."""
        circuit = Circuit(source, target, home, trio.current_time())
        self._open.add(circuit)
        self._held.update(circuit.counted)
        try:
            with circuit.scope:
                yield circuit
        finally:
            self._open.remove(circuit)
            self._held.subtract(circuit.counted)
            for each in circuit.counted:
                if not self._held[each]:
                    del self._held[each]

    def sweep(self, is_served: Callable[[ID], bool]) -> None:
        """End circuits on which nothing moves, and those with an end that is served no longer."""
        idle_since_s = trio.current_time() - IDLE_S
        lost = {peer for peer in set(chain(*(each.ends for each in self._open))) if not is_served(peer)}
        for circuit in self._open:
            if circuit.heard_s <= idle_since_s or not lost.isdisjoint(circuit.ends):
                circuit.scope.cancel()

    async def splice(self, circuit: Circuit, one: Pipe, other: Pipe) -> None:
        """Carry bytes both ways until both sides have ended, or either broke."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, circuit, one, other)
            nursery.start_soon(self._carry, circuit, other, one)

    async def _carry(self, circuit: Circuit, source: Pipe, sink: Pipe) -> None:
        try:
            while data := await source.take():
                circuit.heard_s = trio.current_time()
                await self._line.pay(len(data))
                await sink.write(data)
                circuit.heard_s = trio.current_time()  # what had to wait is no silence
            await sink.end()
        except IOException:
            circuit.scope.cancel()


class _Line:
    """The bytes of all circuits, and how fast they may go."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at_s = 0.0
        self.carried = 0

    async def pay(self, count: int) -> None:
        """Wait for one's turn: whoever sends much waits long, and his sender with him."""
        self.carried += count
        if self._bytes_per_s:
            self._free_at_s = max(self._free_at_s, trio.current_time()) + count / self._bytes_per_s
            await trio.sleep_until(self._free_at_s)


def _share(most: int) -> int:
    return max(CIRCUITS_PER_PAIR, most // SHARE)
