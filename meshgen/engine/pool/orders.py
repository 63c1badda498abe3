"""One caller's job inside the pool, from the line to its last event, and the batch that it is drawn in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, Sequence

import trio

from meshgen.engine.pool.frames import Frame
from meshgen.engine.port import Answer, EngineError, EngineEvent, Picture, Preview, Progress, TextPart, TextWork, Work


class Order:
    """Its events wait here until they are read, so a slow reader never blocks the child.

    ``header``: model and adapters as the child is told them, the same for all of a batch.
    ``alone``: it failed in company and is tried by itself. ``gone``: nobody waits for its answer any more.
    """

    def __init__(self, number: int, work: Work | TextWork, header: Frame) -> None:
        self.number = number
        self.work = work
        self.header = header
        self.alone = False
        self.gone = False
        self.company = len(work.seeds)
        """Pictures of the batch that it was last drawn in."""
        self.ended = trio.Event()
        self._answered: set[int] = set()
        self._near: set[int] = set()
        self._written: Counter[int] = Counter()  # characters of each text, in this try
        self._shown: Counter[int] = Counter()  # ...and in all tries
        self._send, self._receive = trio.open_memory_channel[EngineEvent | EngineError](math.inf)

    @property
    def pictures(self) -> int:
        return len(self.work.seeds)

    @property
    def steps(self) -> int:
        return self.work.steps if isinstance(self.work, Work) else self.work.max_tokens

    @property
    def nearly(self) -> bool:
        """All its pictures are at their last steps, or done."""
        return self.gone or self.ended.is_set() or len(self._near | self._answered) == self.pictures

    @property
    def done(self) -> bool:
        return len(self._answered) == self.pictures

    async def events(self) -> AsyncGenerator[EngineEvent]:
        """Until the job ends. Raises EngineError."""
        async for event in self._receive:
            if isinstance(event, EngineError):
                raise event
            yield event

    def hear(self, frame: Frame) -> None:
        """What the child says of it, its end apart. An order that is drawn again answers nothing twice."""
        match frame["is"]:
            case "progress":
                if frame["step"] >= self.steps - 1:
                    self._near.update(frame["indexes"])
                for index in frame["indexes"]:
                    self._show(index, Progress(index, frame["step"], self.steps))
            case "preview":
                self._show(frame["index"], Preview(frame["index"], frame["step"], frame["jpeg"]))
            case "text":
                self._read(frame["index"], frame["text"])
            case "picture":
                self._answer(frame["index"], Picture(frame["index"], frame["seed"], frame["png"], frame["seconds"]))
            case "answer":
                event = Answer(frame["index"], frame["seed"], frame["data"], frame["media"], frame["seconds"])
                self._answer(frame["index"], event)

    def end(self, error: EngineError | None = None) -> None:
        if not self.ended.is_set():
            if error:
                self._send.send_nowait(error)
            self._send.close()
            self.ended.set()

    def _read(self, index: int, text: str) -> None:
        """A text that is written again begins with the very words that were shown."""
        self._written[index] += len(text)
        new = min(len(text), self._written[index] - self._shown[index])
        if new > 0:
            self._shown[index] += new
            self._show(index, TextPart(index, text[-new:]))

    def again(self) -> None:
        """It goes to a child once more, from its beginning."""
        self._written.clear()

    def _show(self, index: int, event: EngineEvent) -> None:
        if index not in self._answered and not self.gone:
            self._send.send_nowait(event)

    def _answer(self, index: int, event: EngineEvent) -> None:
        self._show(index, event)
        self._answered.add(index)


class Batch:
    """Orders that a child was given together. ``silence_s``: how long it may say nothing once it draws."""

    def __init__(self, orders: Sequence[Order], silence_s: float) -> None:
        self.members = {order.number: order for order in orders}
        self.size = len(orders)
        self.silence_s = silence_s
        self.started = False

    @property
    def model(self) -> str:
        return next(iter(self.members.values())).work.model

    @property
    def nearly(self) -> bool:
        return all(order.nearly for order in self.members.values())

    @property
    def alone(self) -> bool:
        """Nothing else is drawn meanwhile: should it fail again, it is known whose fault it was."""
        return any(order.alone for order in self.members.values())

    @property
    def abandoned(self) -> bool:
        return all(order.gone for order in self.members.values())
