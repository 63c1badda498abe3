"""A worker's side of one accepted job: the engine's events go out on the channel, vouchers come in, and in the end it is paid."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from typing import Any

import trio

from meshgen.engine.port import Answer, Engine, EngineError, EngineEvent, Picture, Preview, Progress, TextPart
from meshgen.identity import Identity
from meshgen.ledger.errors import LedgerError
from meshgen.net.guard import single_errors
from meshgen.net.port import Channel, NetError
from meshgen.peers.inspection import clean
from meshgen.peers.orders import work_of
from meshgen.pictures import PictureError, measure
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Claim
from meshgen.protocols.job import FAILURES, MAX_PIECE_BYTES, Settled, Stop
from meshgen.protocols.job_sides import Fed, Paid, WorkerSide
from meshgen.protocols.order import FormOrder, Order, WorkOrder

log = logging.getLogger(__name__)

KEEPALIVE_S = 3.0
"""A worker that waits or computes says so this often: the requester gives up on one that is silent."""
PROGRESS_GAP_S = 0.1
VOUCHER_S, TAKEN_BYTES_S = 15.0, 16 * 1024
"""A requester that does not take a picture at this rate, and sign for it in that time, gets no other: the engine waits for it."""
SETTLE_S = 10.0


INPUT_S, INPUT_BYTES_PER_S = 60.0, 128 * 1024
"""A requester has so long to send the pictures that its order is about, and as long as they take at this rate."""


class Unpaid(Exception):
    """The requester took a result and did not sign for it."""


class Unfed(Exception):
    """The pictures that the order is about did not come in time, or are not what the order says."""


class Delivery:
    """One job on one channel. ``run`` returns the RECEIPT's wire, or None if the requester left without showing one.

    It draws within ``turn``, which gets the job's company; ``keep`` puts what a voucher allows to claim on disk.
    """

    def __init__(
        self,
        channel: Channel,
        side: WorkerSide,
        order: Order,
        engine: Engine,
        turn: Callable[[tuple[Hashable | None, int]], AbstractAsyncContextManager[None]],
        identity: Identity,
        keep: Callable[[Claim], Awaitable[None]],
    ) -> None:
        self._channel = channel
        self._side = side
        self._order = order
        self._engine = engine
        self._turn = turn
        self._identity = identity
        self._keep = keep
        self._stop = trio.CancelScope()
        self._why_stopped = "stopped"
        self._paid = trio.Event()  # the last picture's voucher is here...
        self._kept = trio.Event()  # ...and on disk
        self._kept.set()
        self._inputs: tuple[bytes, ...] = ()
        self._fed = trio.Event()
        self._receipt: bytes | None = None
        self._settled = trio.Event()
        self._last_progress_s = float("-inf")
        self._position = (0, 0)  # picture, step
        self._previewed: dict[int, int] = {}  # the last step of each picture that was shown
        self._pieces: Counter[int] = Counter()
        self.engine_s = 0.0
        self._since_s = trio.current_time()
        self._drawing = False

    async def run(self) -> bytes | None:
        """Raises nothing that a requester can cause; EngineError only if this node's engine must be looked after."""
        await self._channel.send(self._side.accept())
        failure: EngineError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, nursery.cancel_scope)
                failure = await self._work()
                with trio.move_on_after(SETTLE_S if self._side.pictures else 0.5):
                    await self._settled.wait()
                nursery.cancel_scope.cancel()
        except* (NetError, Malformed, LedgerError) as errors:
            log.info("a job ended early: %s", "; ".join(str(error) for error in errors.exceptions))
        if failure is not None:
            raise failure
        return self._receipt

    def state(self) -> dict[str, Any]:
        """For the owner, fit for JSON; whose job it is and what is in it stays out."""
        terms, (index, step) = self._side.terms, self._position
        return {
            "model": self._order.model,
            "count": terms.count,
            "done": len(self._side.pictures),
            "step": 0 if index in self._side.pictures else step,
            "steps": terms.steps,
            "drawing": self._drawing,
            "seconds": round(trio.current_time() - self._since_s, 1),
        }

    def withdraw(self) -> None:
        """The owner wants his device back at once."""
        self._why_stopped = "withdrawn"
        self._stop.cancel()

    async def _work(self) -> EngineError | None:
        """Draw and send everything, then say how it ended."""
        reason, failure = "", None
        with self._stop:
            try:
                await self._draw()
                await self._say_last(self._side.done())
                return None
            except EngineError as error:
                reason, failure = error.reason if error.reason in FAILURES else "crashed", error
            except Unpaid:
                reason = "unpaid"
            except Unfed:
                reason = "bad_input"
        if not self._side.ended:
            await self._say_last(self._side.fail(reason or self._why_stopped))
        return failure

    async def _say(self, message: bytes) -> None:
        with _patience(len(message)):
            await self._channel.send(message)

    async def _say_last(self, message: bytes) -> None:
        with trio.move_on_after(SETTLE_S):
            await self._channel.send(message, last=True)

    async def _draw(self) -> None:
        with single_errors():
            await self._draw_in_group()

    async def _draw_in_group(self) -> None:
        send, receive = trio.open_memory_channel[EngineEvent](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_engine, send)
            async with aclosing(_with_pulse(receive)) as pulse:
                async for event in pulse:
                    await self._tell(event)

    async def _run_engine(self, send: trio.MemorySendChannel[EngineEvent]) -> None:
        """Once it is this job's turn; the channel has its pulse also while it waits."""
        async with send:
            if self._order.inputs:
                size = sum(item.size for item in self._order.inputs)
                with trio.move_on_after(INPUT_S + size / INPUT_BYTES_PER_S):
                    await self._fed.wait()
                if not self._fed.is_set():
                    raise Unfed
                _check_source(self._order, self._inputs, self._side.terms.features)
            work = work_of(self._order, self._inputs)
            async with self._turn(self._engine.company(work)), self._engine.run(work) as events:
                self._drawing = True
                async for event in events:
                    await send.send(event)

    async def _tell(self, event: EngineEvent | None) -> None:
        side, send = self._side, self._say
        match event:
            case None:
                await send(side.progress(*self._position))
            case Progress(index, step, _steps):
                self._position = (index, step)
                if trio.current_time() - self._last_progress_s >= PROGRESS_GAP_S:
                    self._last_progress_s = trio.current_time()
                    await send(side.progress(index, step))
            case Preview(index, step, jpeg):
                if step > self._previewed.get(index, -1):  # an engine that starts again shows the first steps twice
                    self._previewed[index] = step
                    await send(side.preview(index, step, jpeg))
            case TextPart(index, text):
                for piece in _pieces(text):
                    self._pieces[index] += 1
                    if self._pieces[index] <= side.terms.steps:  # or a text again: the result counts
                        await send(side.piece(index, piece))
            case Picture(index, _, data, seconds) | Answer(index, _, data, _, seconds):
                await self._deliver(index, data, seconds)

    async def _deliver(self, index: int, data: bytes, seconds: float) -> None:
        """Send one result with its bill and wait for the voucher: what is at risk is one result, never two.

        Nor when this node is killed: a result goes out once the voucher for the ones before is on disk, which may take as long
        as the engine draws.
        """
        self.engine_s += seconds
        await self._kept.wait()
        messages = self._side.result(index, data, os.urandom(16), round(seconds * 1000))
        self._paid, self._kept = trio.Event(), trio.Event()
        with _patience(len(data)):
            await self._channel.send(*messages, self._side.bill(self._identity))
            await self._paid.wait()
        missing = [other for other in range(self._side.terms.count) if other not in self._side.pictures]
        self._position = (missing[0], 0) if missing else self._position

    async def _listen(self, everything: trio.CancelScope) -> None:
        while (message := await self._channel.receive()) is not None:
            match self._side.feed(message):
                case Paid():
                    self._paid.set()
                    await self._keep(self._side.claim())
                    self._kept.set()
                case Stop():
                    self._stop.cancel()
                case Fed(inputs):
                    self._inputs = inputs
                    self._fed.set()
                case Settled(entry):
                    self._receipt = entry
                    self._settled.set()
                    return
        everything.cancel()  # the requester ended the channel: nobody waits for what would be drawn


def _check_source(order: Order, inputs: Sequence[bytes], features: Collection[str]) -> None:
    """Is it the picture that was offered? The price of a form is for its size, and so is its answer's; and what is transparent
    is painted anew, which the offer has to say. Raises Unfed."""
    for given, data in zip(order.inputs, inputs, strict=True):
        if given.role != "source" and not isinstance(order, FormOrder):
            continue
        try:
            shape = measure(data)
        except PictureError:
            raise Unfed from None
        if isinstance(order, FormOrder) and (shape.width, shape.height) != (order.width, order.height):
            raise Unfed
        if isinstance(order, WorkOrder) and shape.transparent and "inpainting" not in features:
            raise Unfed


@contextmanager
def _patience(size: int) -> Iterator[None]:
    """While a requester takes so many bytes. Raises Unpaid."""
    with trio.move_on_after(VOUCHER_S + size / TAKEN_BYTES_S) as patience:
        yield
    if patience.cancelled_caught:
        raise Unpaid


def _pieces(text: str) -> Iterator[str]:
    """As they may cross the net."""
    plain = clean(text)
    step = MAX_PIECE_BYTES // 4
    yield from (plain[at : at + step] for at in range(0, len(plain), step))


async def _with_pulse(events: trio.MemoryReceiveChannel[EngineEvent]) -> AsyncGenerator[EngineEvent | None]:
    """The events, and None whenever none came for KEEPALIVE_S."""
    while True:
        event: EngineEvent | None = None
        with trio.move_on_after(KEEPALIVE_S):
            try:
                event = await events.receive()
            except trio.EndOfChannel:
                return
        yield event
