"""This peer's own engine, and how it serves its owner's requests without the mesh.

It waits in the same queue as others' jobs, and goes before them. Own work needs no offer and moves no credit: nobody owes
himself. It is one more choice beside the bids, so that a request of many pictures is spread over the own device and others'.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from meshgen.engine.port import Engine, EngineEvent
from meshgen.engine.several import lane_of
from meshgen.ledger.standing import OWNER
from meshgen.peers.matching import Choice, No, find_model, lacking
from meshgen.peers.orders import order_s, result_s, work_of
from meshgen.peers.queue import Queue
from meshgen.protocols.advert import AdapterAdvert, ModelAdvert
from meshgen.protocols.offer import Offer
from meshgen.protocols.order import Order


class OwnEngine:
    """The owner's way to the engine. ``models`` are those that this peer serves."""

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        models: Callable[[], tuple[ModelAdvert, ...]],
        adapters: Callable[[], tuple[AdapterAdvert, ...]],
    ) -> None:
        self._engine = engine
        self._queue = queue
        self.models = models
        self.adapters = adapters

    def choice(self, offer: Offer) -> Choice | No | None:
        """The own device as the allocation sees it, or why it can't do this; None if it does not know the model."""
        found = find_model(self.models(), offer.model, offer.digest)
        if found is None:
            return None
        if offer.width * offer.height > found.max_pixels:
            return No("too_large", found.max_pixels)
        if no := lacking(offer, found, self.adapters()):
            return no
        return Choice(
            offer.count,
            0,
            self._queue.wait_ms(OWNER, lane_of(self._engine, offer.model)),
            round(result_s(self._engine, offer) * 1000),
        )

    @asynccontextmanager
    async def do(self, order: Order, inputs: Sequence[bytes]) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        """The engine's events, once it is the work's turn. Raises EngineError."""
        count = len(order.seeds)
        work = work_of(order, inputs)
        with self._queue.accepted(OWNER, count, order_s(self._engine, order), lane_of(self._engine, order.model)) as ticket:
            async with self._queue.turn(ticket, self._engine.company(work)), self._engine.run(work) as events:
                yield events
