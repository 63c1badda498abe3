"""A device's whole work: pictures and texts, one batch after the other, with what comes before and after overlapping. Child side.

Three threads: one encodes the next batch's prompts and reads its pictures, the denoiser runs in the main one, and a third decodes
and compresses the last batch's pictures. They share the models' modules, so that they only overlap where nobody
changes those: the same model with the same LoRAs, held whole on the device, without circular edges.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from meshgen.engine.diffusion.drawing import Cancelled, Drawing, Member, Studio
from meshgen.engine.diffusion.memory import Fit
from meshgen.engine.diffusion.pipelines import Loaded, attempt
from meshgen.engine.diffusion.tuning import Plan
from meshgen.engine.pool.frames import Frame
from meshgen.engine.port import EngineError, Lora, TextWork, Work
from meshgen.engine.text.scribe import Scribe

Outfit = tuple[dict[str, Any], tuple[Lora, ...]]
"""A model, and what it wears."""


class Job(Protocol):
    """A job as the child's main loop has it."""

    @property
    def work(self) -> Work | TextWork: ...

    def cancelled(self) -> bool: ...

    def tell(self, what: str, **fields: object) -> None: ...

    def end(self, reason: str = "", message: str = "") -> None: ...


class Task:
    """One batch as the node gave it. Its jobs end when the last of its drawings is done, or one failed."""

    def __init__(self, frame: Frame, jobs: Sequence[Job]) -> None:
        self.model: dict[str, Any] = frame["model"]
        self.files: dict[str, Any] = frame["adapters"]
        self.jobs = jobs
        self.drawings: list[Drawing] | None = None
        """Once its prompts are encoded."""
        self.failed = False
        self._left = 0
        self._lock = threading.Lock()

    @property
    def work(self) -> Work | TextWork:
        return self.jobs[0].work

    def members(self) -> list[Member]:
        return [Member(job.work, job.tell, job.cancelled) for job in self.jobs if isinstance(job.work, Work)]

    def expect(self, drawings: int) -> None:
        with self._lock:
            self._left += drawings

    def done(self) -> None:
        with self._lock:
            self._left -= 1
            left = self._left
        if not left:
            self.end()

    def end(self, reason: str = "", message: str = "") -> None:
        self.failed = bool(reason)
        for job in self.jobs:
            job.end(reason, message)

    @property
    def outfit(self) -> Outfit | None:
        """Tasks of equal outfits can overlap; None: with no other."""
        work = self.work
        return (self.model, work.loras) if isinstance(work, Work) and not work.tiling else None


TEXT = "text"
"""What text models are together among those in memory."""


class SharedStudio(Studio):
    """On a device where others have models too."""

    def make_room_for(self, key: Hashable, mib: int, let_go: Callable[[], None]) -> None:
        self._pipelines.make_room_for(key, mib, let_go)


class Workshop:
    """Raises EngineError if there is no such device."""

    def __init__(self, device: str, dtype: str, threads: int, plan: Plan) -> None:
        self._studio = SharedStudio(device, dtype, threads, plan)
        self.device = self._studio.device
        self._scribe = Scribe(self.device, threads)
        self._max_batch = plan.max_batch
        self._most: dict[tuple[str, int], int] = {}
        """Pictures at once, by model and size, where memory ran out."""
        self._outfit: Outfit | None = None
        """Of what is drawn now, if others can do something beside it."""
        self._alone = threading.Lock()
        """Held by whoever reads prompts ahead, and by who moves a model's parts."""
        self._ready: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._finisher = Finisher(self._again)

    def run(self, wait: Callable[[], tuple[Frame, Sequence[Job]]]) -> None:
        """Do what ``wait`` brings, for ever."""
        threading.Thread(target=self._look_ahead, args=(wait,), daemon=True, name="ahead").start()
        while True:
            self._ready.get()()

    # -- ahead

    def _look_ahead(self, wait: Callable[[], tuple[Frame, Sequence[Job]]]) -> None:
        while True:
            self._prepare(Task(*wait()))

    def _prepare(self, task: Task) -> None:
        with self._alone:
            if task.outfit is not None and task.outfit == self._outfit:
                self._guarded(task, lambda: self._encode(task))
        self._ready.put(lambda: self._guarded(task, lambda: self._do(task)))

    def _encode(self, task: Task) -> None:
        task.drawings = self._studio.encode(task.model, task.members(), task.files)

    def _guarded(self, task: Task, action: Callable[[], None]) -> None:
        try:
            action()
        except EngineError as error:
            task.end(error.reason, str(error))

    # -- the main thread

    def _do(self, task: Task) -> None:
        """A task that failed ahead has ended already: its jobs do so once."""
        if task.failed or all(job.cancelled() for job in task.jobs):
            task.end()
        elif isinstance(task.work, TextWork):
            self._write(task)
        else:
            self._draw(task)

    def _write(self, task: Task) -> None:
        self._outfit = None
        self._finisher.drain()
        self._studio.make_room_for(TEXT, self._scribe.parameters_mib(task.model), lambda: self._scribe.let_go(keep=0))
        for job in task.jobs:
            if isinstance(job.work, TextWork):
                self._scribe.write(task.model, job.work, job.tell, job.cancelled)
        task.end()

    def _draw(self, task: Task) -> None:
        if task.outfit is None or task.outfit != self._outfit:
            self._finisher.drain()
        self._outfit = None
        if task.drawings is None:
            self._encode(task)
        drawings, task.drawings = task.drawings or [], None
        waiting = deque(part for drawing in drawings for part in drawing.cut(self._at_once(task)))
        task.expect(len(waiting) + 1)
        self._outfit = task.outfit if drawings and _steady(drawings[0].loaded) else None
        del drawings
        while waiting:
            self._draw_one(waiting.popleft(), task)
        task.done()

    def _draw_one(self, drawing: Drawing, task: Task) -> None:
        try:
            if self._outfit is not None and attempt(lambda: _denoised(drawing)):
                self._finisher.take(drawing, task)
            else:
                self._draw_carefully(drawing, task)
        except Cancelled:
            task.done()

    def _draw_carefully(self, drawing: Drawing, task: Task) -> None:
        """Memory is short: nothing beside it, then fewer at once, then all measures. Raises EngineError."""
        self._outfit = None
        with self._alone:
            self._finisher.drain()
            self._draw_in_parts(drawing, task)
        task.done()

    def _draw_in_parts(self, drawing: Drawing, task: Task) -> None:
        waiting = deque([drawing])
        while waiting:
            one = waiting.popleft()
            if attempt(one.draw):
                continue
            if len(one) > 1:
                self._most[_place(task)] = len(one) // 2
                waiting.extendleft(reversed(one.cut(len(one) // 2)))
            elif self._studio.make_room(one.loaded):
                waiting.appendleft(one)
            else:
                raise EngineError("out_of_memory", f"{one.what} does not fit into this device's memory")

    def _again(self, drawing: Drawing, task: Task) -> None:
        """Decoding ran out of memory beside other work."""
        self._ready.put(lambda: self._guarded(task, lambda: self._draw_carefully(drawing, task)))

    def _at_once(self, task: Task) -> int:
        return self._most.get(_place(task), self._max_batch)


class Finisher:
    """Decodes and compresses, one batch at a time, beside the denoiser. ``again`` gets what ran out of memory."""

    def __init__(self, again: Callable[[Drawing, Task], None]) -> None:
        self._again = again
        self._waiting: queue.Queue[tuple[Drawing, Task]] = queue.Queue(maxsize=1)
        threading.Thread(target=self._run, daemon=True, name="finisher").start()

    def take(self, drawing: Drawing, task: Task) -> None:
        """Waits while it is more than one batch behind."""
        self._waiting.put((drawing, task))

    def drain(self) -> None:
        self._waiting.join()

    def _run(self) -> None:
        while True:
            drawing, task = self._waiting.get()
            try:
                if attempt(lambda drawing=drawing: _finished(drawing)):  # type: ignore[misc]
                    task.done()
                else:
                    self._again(drawing, task)
            except EngineError as error:
                task.end(error.reason, str(error))
            del drawing, task
            self._waiting.task_done()


def _denoised(drawing: Drawing) -> bool:
    drawing.denoise()
    return True


def _finished(drawing: Drawing) -> bool:
    with suppress(Cancelled):
        drawing.finish()
    return True


def _steady(loaded: Loaded) -> bool:
    return loaded.fit is Fit.WHOLE and not loaded.relief


def _place(task: Task) -> tuple[str, int]:
    work = task.work
    return task.model["path"], work.width * work.height if isinstance(work, Work) else 0
