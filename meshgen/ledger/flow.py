"""How much credit reaches a peer from me: the maximum flow over at most three hops, charged as it is used.

A credit graph has an edge a -> b of so many milli-kudos that a owes b. ``capacity(me, j)`` is the exact maximum flow from me to
j over the paths me -> j, me -> x -> j and me -> x -> y -> j. With so few hops every edge can stand at one place of a path only,
so the problem is a flow in four layers, in which nothing is approximated::

    me -> x (what I owe x) -> y (what x owes y, or no hop at all if x is y) -> j (what y owes j)

What is used is charged: :meth:`CreditGraph.charge` takes it off the edges of the paths, in this peer's own copy. A thousand
made-up peers behind one attacker share the one edge that leads to him, and once it is used up it leads to none of them.

All answers depend on the edges alone, not on the order in which they were set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

Arcs = dict[bytes, dict[bytes, int]]
"""x -> y -> milli-kudos."""


class Path(NamedTuple):
    """Nodes from me to the peer, both included, and what goes along it in milli-kudos."""

    nodes: tuple[bytes, ...]
    amount: int

    @property
    def hops(self) -> Iterator[tuple[bytes, bytes]]:
        """(debtor, creditor) of each edge."""
        return pairwise(self.nodes)


class _Charged(NamedTuple):
    """An edge of which something was used. ``used`` may be more than ``credit``, when the edge has shrunk since."""

    credit: int
    used: int


class CreditGraph:
    """Edges may be set at any time. Capacities are cached until an edge changes that could matter to them."""

    def __init__(self) -> None:
        self._charged: dict[tuple[bytes, bytes], _Charged] = {}
        self._out: Arcs = {}  # what is left of each edge, none of 0
        self._into: Arcs = {}  # the same by the far end
        self._capacities: Arcs = {}  # me -> j -> the answer

    def set(self, debtor: bytes, creditor: bytes, amount: int) -> None:
        """``amount`` is all that ``debtor`` owes ``creditor``; what was charged stays charged."""
        if debtor != creditor:
            self._put(debtor, creditor, amount, self.used(debtor, creditor))

    def left(self, debtor: bytes, creditor: bytes) -> int:
        """What is left of an edge."""
        return self._out.get(debtor, {}).get(creditor, 0)

    def used(self, debtor: bytes, creditor: bytes) -> int:
        """What was charged on an edge."""
        charged = self._charged.get((debtor, creditor))
        return charged.used if charged else 0

    def capacity(self, me: bytes, peer: bytes) -> int:
        """The maximum flow from me to the peer; 0 to oneself."""
        if not self._into.get(peer):
            return 0  # nor is it worth a place in the cache, which so holds nobody whom nobody owes
        answers = self._capacities.setdefault(me, {})
        answer = answers.get(peer)
        if answer is None:
            answer = answers[peer] = self.left(me, peer) + sum(amount for _, _, amount in self._flow(me, peer))
        return answer

    def paths(self, me: bytes, peer: bytes) -> list[Path]:
        """A maximum flow as paths, the shortest first, then the widest. Their amounts sum to the capacity."""
        direct = self.left(me, peer)
        paths = [Path((me, peer), direct)] if direct else []
        for x, y, amount in self._flow(me, peer):
            paths.append(Path((me, x, peer) if x == y else (me, x, y, peer), amount))
        return sorted(paths, key=lambda path: (len(path.nodes), -path.amount))

    def charge(self, me: bytes, peer: bytes, amount: int) -> list[Path]:
        """Take ``amount``, or the capacity if that is less, off the edges: the paths that were charged.

        They are part of a maximum flow, so the peer's capacity falls by exactly what was charged, and nobody's grows.
        """
        charged = []
        for path in self.paths(me, peer) if amount > 0 else ():
            part = Path(path.nodes, min(path.amount, amount))
            charged.append(part)
            amount -= part.amount
            if amount == 0:
                break
        for part in charged:
            self._use(part, part.amount)
        return charged

    def refund(self, paths: Iterable[Path]) -> None:
        """Give back what was charged."""
        for path in paths:
            self._use(path, -path.amount)

    # -- inside

    def _use(self, path: Path, amount: int) -> None:
        for edge in path.hops:
            credit, used = self._charged.get(edge) or _Charged(self.left(*edge), 0)
            self._put(*edge, credit, used + amount)

    def _put(self, debtor: bytes, creditor: bytes, credit: int, used: int) -> None:
        if used:
            self._charged[debtor, creditor] = _Charged(credit, used)
        else:
            self._charged.pop((debtor, creditor), None)
        if credit > used:
            self._out.setdefault(debtor, {})[creditor] = credit - used
            self._into.setdefault(creditor, {})[debtor] = credit - used
        elif creditor in self._out.get(debtor, ()):
            del self._out[debtor][creditor], self._into[creditor][debtor]
        for me, answers in self._capacities.items():
            self._forget(me, answers, debtor, creditor)

    def _forget(self, me: bytes, answers: dict[bytes, int], debtor: bytes, creditor: bytes) -> None:
        """Drop the answers that this edge could change: as the first, the second or the last of three hops."""
        if debtor == me:
            answers.clear()
            return
        answers.pop(creditor, None)
        if answers and debtor in self._out.get(me, ()):
            beyond = self._out.get(creditor, {})
            few, many = (beyond, answers) if len(beyond) < len(answers) else (answers, beyond)
            for peer in [peer for peer in few if peer in many]:
                del answers[peer]

    def _flow(self, me: bytes, peer: bytes) -> list[tuple[bytes, bytes, int]]:
        """(x, y, amount) of a maximum flow over two hops (x is y) and three."""
        supply = {x: left for x, left in sorted(self._out.get(me, {}).items()) if x != peer}
        demand = {y: left for y, left in sorted(self._into.get(peer, {}).items()) if y != me}
        if me == peer or not supply or not demand:
            return []
        return list(maximum_flow(supply, demand, self._arcs(supply, demand)))

    def _arcs(self, supply: Mapping[bytes, int], demand: Mapping[bytes, int]) -> Arcs:
        """The hops from an x to a y, looked up from the side with fewer: nobody can make it costly with edges of his own."""
        arcs: Arcs = {x: {x: left} for x, left in supply.items() if x in demand}
        if len(demand) < len(supply):
            for y in demand:
                into = self._into.get(y, {})
                for x in sorted(into.keys() & supply.keys()):
                    arcs.setdefault(x, {})[y] = into[x]
        else:
            for x in supply:
                out = self._out.get(x, {})
                if common := sorted(out.keys() & demand.keys()):
                    arcs.setdefault(x, {}).update({y: out[y] for y in common})
        return arcs


def maximum_flow(supply: Mapping[bytes, int], demand: Mapping[bytes, int], arcs: Arcs) -> Iterator[tuple[bytes, bytes, int]]:
    """(source, sink, amount) of each arc that is used. Supplies, demands and the room on arcs are above 0."""
    flow = _Flow(dict(supply), dict(demand), {x: dict(sinks) for x, sinks in arcs.items()})
    flow.fill()
    while any(flow.demand.values()) and flow.augment():
        pass
    return ((x, y, amount) for y, sources in flow.sent.items() for x, amount in sources.items() if amount)


@dataclass(slots=True)
class _Flow:
    """A flow in the making. Each phase grows a breadth-first forest from the sources that have supply left, and fills every sink
    in it that has demand left along its branch. When a forest reaches no such sink, no flow is greater."""

    supply: dict[bytes, int]
    demand: dict[bytes, int]
    room: Arcs
    """What each arc could still take."""
    sent: Arcs = field(default_factory=dict)
    """Sink -> source -> what it gets."""

    def fill(self) -> None:
        """Whatever goes straight away: mostly all of it."""
        for x, sinks in self.room.items():
            for y in list(sinks):
                amount = min(self.supply[x], sinks[y], self.demand[y])
                if amount:
                    self._send([(x, y)], [], amount)
                if not self.supply[x]:
                    break

    def augment(self) -> bool:
        """One phase: did it find anything?"""
        feeding: dict[bytes, bytes] = {}  # sink -> the source before it
        freeing: dict[bytes, bytes] = {}  # source -> the sink before it, which could do with less from this source
        layer = [x for x, left in self.supply.items() if left]
        roots, found = frozenset(layer), False
        while layer:
            sinks = self._reach(layer, feeding)
            for y in sinks:
                found = (self.demand[y] > 0 and self._fill_along(y, feeding, freeing)) or found
            layer = []
            for y in sinks:
                for x, amount in self.sent.get(y, {}).items():
                    if amount and x not in freeing and x not in roots:
                        freeing[x] = y
                        layer.append(x)
        return found

    def _reach(self, layer: list[bytes], feeding: dict[bytes, bytes]) -> list[bytes]:
        sinks = []
        for x in layer:
            if len(feeding) == len(self.demand):
                break
            for y, room in self.room.get(x, {}).items():
                if room and y not in feeding:
                    feeding[y] = x
                    sinks.append(y)
        return sinks

    def _fill_along(self, sink: bytes, feeding: Mapping[bytes, bytes], freeing: Mapping[bytes, bytes]) -> bool:
        """Push what the branch down to this sink can take as a whole."""
        more, less = [(feeding[sink], sink)], []
        while (x := more[-1][0]) in freeing:
            y = freeing[x]
            less.append((x, y))
            more.append((feeding[y], y))
        limits = [self.demand[sink], self.supply[x]]
        limits += [self.room[x][y] for x, y in more] + [self.sent[y][x] for x, y in less]
        amount = min(limits)
        if amount:
            self._send(more, less, amount)
        return amount > 0

    def _send(self, more: list[tuple[bytes, bytes]], less: list[tuple[bytes, bytes]], amount: int) -> None:
        """``amount`` more on these arcs and less on those, from the source of the last to the sink of the first."""
        for arcs, change in ((more, amount), (less, -amount)):
            for x, y in arcs:
                self.room[x][y] -= change
                sources = self.sent.setdefault(y, {})
                sources[x] = sources.get(x, 0) + change
        self.supply[more[-1][0]] -= amount
        self.demand[more[0][1]] -= amount
