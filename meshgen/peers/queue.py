"""The worker's queue: which of the accepted jobs gets the engine next, and what is before whom.

The greater rank goes first: the own account, friends, then others by what they gave (log2 buckets of credit). Nobody starves:
every AGE_S of waiting is worth a bucket, and who has waited longest is passed over at most SHARE - 1 times in a row. A job that
has the engine keeps it to its end. Those that the engine draws together with it have it too, whoever is before them: it costs
the others next to nothing.

Where a peer has several engines, each has its own lane: who waits for one is not in the way of the others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import trio

from meshgen.engine.port import Room
from meshgen.ledger.standing import Rank

AGE_S = 30.0
SHARE = 8
_DRAWING = Rank(99, 0)
"""What has the engine is before everybody."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One accepted job. ``seconds``: how long the engine will have it, as estimated."""

    rank: Rank
    pictures: int
    seconds: float
    since_s: float = 0.0
    lane: str = ""
    key: Hashable | None = None
    """Of equal keys, pictures can be drawn together: at most ``most``."""
    most: int = 1
    drawing: bool = False
    party: list[Ticket] = field(default_factory=list)
    """Those that have the engine together, until the last of them leaves it."""
    turn: trio.Event = field(default_factory=trio.Event)


class Line:
    """Those who wait, and who of them is next: the whole order, without a clock of its own."""

    def __init__(self) -> None:
        self._waiting: dict[Ticket, None] = {}  # as they came
        self._passed = 0  # turns in a row that did not go to who has waited longest

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, ticket: Ticket) -> None:
        self._waiting[ticket] = None

    def leave(self, ticket: Ticket) -> None:
        self._waiting.pop(ticket, None)

    def next(self, now_s: float) -> Ticket:
        """Take out whose turn it is. There must be one."""
        oldest = next(iter(self._waiting))
        chosen = oldest
        if self._passed < SHARE - 1:
            chosen = max(
                self._waiting, key=lambda ticket: (ticket.rank.tier, ticket.rank.bucket + (now_s - ticket.since_s) / AGE_S)
            )
        self._passed = 0 if chosen is oldest else self._passed + 1
        del self._waiting[chosen]
        return chosen

    def companions(self, ticket: Ticket) -> list[Ticket]:
        """Take out those that go with it, the first come first."""
        found, room = [], ticket.most - ticket.pictures
        for other in list(self._waiting) if ticket.key is not None else ():
            if other.key == ticket.key and other.pictures <= room:
                found.append(other)
                room -= other.pictures
                del self._waiting[other]
        return found


@dataclass(slots=True)
class Lane:
    """The way to one engine. ``taken``: jobs, or parties of jobs, that have it."""

    room: Callable[[], Room]
    line: Line = field(default_factory=Line)
    taken: int = 0


class Queue:
    """``room`` says how many jobs, or parties of jobs, have the engine at a time; ``lanes`` say it of further engines.
    ``on_change`` is called when ``pictures`` changes."""

    def __init__(
        self,
        room: Callable[[], Room],
        on_change: Callable[[], None] = lambda: None,
        lanes: Mapping[str, Callable[[], Room]] | None = None,
    ) -> None:
        self.pictures = 0
        """Accepted and not yet delivered."""
        self._on_change = on_change
        self._lanes = {"": Lane(room)} | {name: Lane(room) for name, room in (lanes or {}).items()}
        self._loads: dict[tuple[str, Rank], tuple[int, float]] = {}  # pictures, seconds

    @contextmanager
    def accepted(self, rank: Rank, pictures: int, seconds: float, lane: str = "") -> Iterator[Ticket]:
        """A job counts from here to its end, whether it waits, is drawn, or is being paid for."""
        ticket = Ticket(rank, pictures, seconds, lane=lane)
        self._count(ticket, 1)
        self._on_change()
        try:
            yield ticket
        finally:
            self._count(ticket, -1)
            self._on_change()

    @asynccontextmanager
    async def turn(self, ticket: Ticket, company: tuple[Hashable | None, int] = (None, 1)) -> AsyncIterator[None]:
        """Wait for the engine, and have it. ``company``: see :meth:`meshgen.engine.port.Engine.company`."""
        ticket.key, ticket.most = company
        ticket.since_s = trio.current_time()
        lane = self._lanes[ticket.lane]
        lane.line.join(ticket)
        self.advance()
        try:
            await ticket.turn.wait()
            yield
        finally:
            lane.line.leave(ticket)
            if ticket.turn.is_set():
                ticket.party.remove(ticket)
                lane.taken -= not ticket.party
                self.advance()

    def ahead(self, rank: Rank, lane: str | None = None) -> tuple[int, float]:
        """(pictures, seconds) that would go before a job of this rank that came now, in that lane or in all."""
        loads = [load for (way, other), load in self._loads.items() if other >= rank and lane in (None, way)]
        return sum(pictures for pictures, _ in loads), sum(seconds for _, seconds in loads)

    def wait_ms(self, rank: Rank, lane: str = "") -> int:
        """When a job of this rank that came now would get the engine, roughly."""
        return round(self.ahead(rank, lane)[1] * 1000 / max(self._lanes[lane].room().working, 1))

    def advance(self) -> None:
        """Let in who has room: to be called when an engine has got more of it."""
        for lane in self._lanes.values():
            while lane.taken < sum(lane.room()) and lane.line:
                self._let_in(lane)

    def _let_in(self, lane: Lane) -> None:
        first = lane.line.next(trio.current_time())
        party = [first, *lane.line.companions(first)]
        lane.taken += 1
        for ticket in party:
            self._count(ticket, -1)
            ticket.drawing, ticket.party = True, party
            self._count(ticket, 1)
            ticket.turn.set()

    def _count(self, ticket: Ticket, sign: int) -> None:
        key = ticket.lane, _DRAWING if ticket.drawing else ticket.rank
        pictures, seconds = self._loads.get(key, (0, 0.0))
        pictures, seconds = pictures + sign * ticket.pictures, seconds + sign * ticket.seconds
        self.pictures += sign * ticket.pictures
        if pictures:
            self._loads[key] = pictures, seconds
        else:
            self._loads.pop(key, None)
