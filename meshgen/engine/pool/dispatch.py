"""Gives waiting jobs to seats: the oldest first, and with it those that can be drawn in one batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import trio

from meshgen.engine.pool.batching import Line, most_pictures, pictures_of
from meshgen.engine.pool.health import Health
from meshgen.engine.pool.orders import Batch, Order
from meshgen.engine.pool.seat import Seat
from meshgen.engine.port import EngineError

log = logging.getLogger(__name__)

MAX_DEVICES = 64
GATHER_S = 0.03
"""How long an idle device waits for more of the same, if there is reason to expect it; a lone job never waits."""
GATHER_SHARE = 0.05
"""...but no longer than so much of the job itself."""
AGAIN_S = 0.25
"""So soon after a batch of several, several are expected again."""


class Outlook(Protocol):
    """What is known of an order's time."""

    def work_s(self, order: Order) -> float: ...

    def patience_s(self, order: Order) -> float:
        """How long a child may be silent over it."""


class Dispatcher:
    """Implements :class:`meshgen.engine.pool.seat.Keeper`."""

    def __init__(
        self, command: Sequence[str], silence_s: float, outlook: Outlook, max_batch: int, health: Health, nursery: trio.Nursery
    ) -> None:
        self.seats: list[Seat] = []
        self._command = command
        self._silence_s = silence_s
        self._outlook = outlook
        self._max_batch = max_batch
        self._nursery = nursery
        self._health = health
        self._line = Line()
        self._wake = trio.Event()
        self._last_party, self._last_end_s = 1, 0.0

    @property
    def broken(self) -> str:
        """Why no device is left, if none is."""
        whys = [seat.broken for seat in self.seats]
        return "; ".join(whys) if all(whys) else ""

    def free(self) -> int:
        return max(0, sum(not seat.batches and not seat.broken for seat in self.seats) - len(self._line))

    def add_seat(self, device: str) -> None:
        if len(self.seats) < MAX_DEVICES:
            seat = Seat(self._command, device, self, self._silence_s)
            self.seats.append(seat)
            self._nursery.start_soon(seat.keep)

    async def serve(self) -> None:
        while True:
            await self._wake.wait()
            await self._gather()
            self._wake = trio.Event()
            self._hand_out()

    def submit(self, order: Order) -> None:
        self._line.join(order)
        self._wake.set()

    async def leave(self, order: Order, grace_s: float) -> None:
        """Nobody waits for it any more: it is stopped within a step, wherever it is."""
        order.gone = True
        self._line.leave(order)
        if order.ended.is_set():
            return
        for seat in self.seats:
            await seat.stop(order, grace_s)
        order.end()

    # -- what seats tell

    def on_ready(self, others: Sequence[str]) -> None:
        """The first child finds the devices; those that it leaves get children of their own, once."""
        if len(self.seats) == 1:
            for device in others:
                self.add_seat(device)
        self._wake.set()

    def on_room(self) -> None:
        if self.broken:
            self._fail_all(self._line.all(), EngineError("unsupported", self.broken))
        self._last_end_s = trio.current_time()
        self._wake.set()

    def on_failed(self, order: Order, error: EngineError, company: int) -> None:
        """A job that failed in company, or through no fault of its own, is tried again."""
        if order.gone:
            order.end()
        elif company == 1 or error.reason == "bad_model":
            self._health.failed(order.work, error)
            order.end(error)
            if fault := self._health.faults.get(order.work.model):
                self._fail_all(self._line.of_model(order.work.model), EngineError("bad_model", fault))
        else:
            order.alone = order.alone or company > 1
            order.again()
            self._line.join_first(order)
            self._wake.set()

    # -- inside

    def _fail_all(self, orders: Sequence[Order], error: EngineError) -> None:
        for order in orders:
            self._line.leave(order)
            order.end(error)

    async def _gather(self) -> None:
        wait = min(GATHER_S, GATHER_SHARE * self._outlook.work_s(self._line.first)) if len(self._line) else 0.0
        deadline = trio.current_time() + wait
        while self._expects_company() and trio.current_time() < deadline:
            self._wake = trio.Event()
            with trio.move_on_at(deadline):
                await self._wake.wait()

    def _expects_company(self) -> bool:
        """Several have just come, or have just been drawn together; the device is idle, and there is room in the batch."""
        seat = self._choose(self._line.first) if len(self._line) else None
        if seat is None or seat.batches:
            return False
        most = self._most(seat)
        party = self._line.party(most)
        if self._line.first_goes_alone() or pictures_of(party) >= most:
            return False
        again = trio.current_time() - self._last_end_s < AGAIN_S and len(party) < self._last_party
        return again or len(party) > 1

    def _hand_out(self) -> None:
        while len(self._line):
            seat = self._choose(self._line.first)
            if seat is None:
                return
            party = self._line.take(self._most(seat), self._idle())
            self._last_party = len(party)
            for order in party:
                order.company = pictures_of(party)
            seat.begin(Batch(party, self._outlook.patience_s(party[0])), party[0].header)

    def _most(self, seat: Seat) -> int:
        return most_pictures(self._line.first.work, seat.batch_pixels, self._max_batch)

    def _idle(self) -> int:
        return sum(seat.has_room and not seat.batches for seat in self.seats)

    def _choose(self, order: Order) -> Seat | None:
        """The idle one that has the model warm, if there is a choice."""
        able = [seat for seat in self.seats if seat.has_room and not (order.alone and seat.batches)]
        return min(able, key=lambda seat: (len(seat.batches), order.work.model not in seat.warm), default=None)
