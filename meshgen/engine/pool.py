"""The real engine, as the node sees it: the catalog's models, run by diffusers in one child process for each device.

torch never enters the node's process: it takes seconds to import and hundreds of megabytes, and its crash is everybody's.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

import trio

from meshgen.engine.catalog import Catalog, CatalogError, CatalogModel
from meshgen.engine.frames import Frame
from meshgen.engine.port import AdapterInfo, AnyWork, DeviceInfo, Engine, EngineError, EngineEvent, ModelInfo, Picture, Work
from meshgen.engine.seat import Job, Seat
from meshgen.engine.speed import Speed

log = logging.getLogger(__name__)

MAX_DEVICES = 64
MAX_CRASHES = 3
"""A model that crashes its child so many times in a row is no longer offered."""
GRACE_S = 2.0
SILENCE_S = 300.0
"""A child that says nothing for so long is replaced. Loading a large model from a slow disk is the longest silence there is."""
MAX_STEPS = 1000
MAX_SEED = 2**64 - 1
WARM_UP_SIDE = 64  # pixels
_NEEDED = ("torch", "diffusers", "transformers")


@asynccontextmanager
async def open_engine(
    catalog: Catalog,
    device: str = "auto",
    dtype: str = "auto",
    keep_loaded: int = 2,
    threads: int | None = None,
    *,
    command: Sequence[str] | None = None,
    grace_s: float = GRACE_S,
    silence_s: float = SILENCE_S,
) -> AsyncGenerator[Engine]:
    """An engine until the context is left; all processes are gone then. Opens at once: the first job waits for the child.

    ``device`` is auto, cpu, mps, cuda (every one there is) or cuda:N; ``dtype`` auto, float32, float16 or bfloat16;
    ``keep_loaded`` says how many models stay in memory.
    ``command`` starts another child than the real one. Raises EngineError("unsupported").
    """
    if command is None and (missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]):
        raise EngineError("unsupported", f"{', '.join(missing)} not installed; for a worker: pip install 'meshgen-node[worker]'")
    child = [sys.executable, "-m", "meshgen.engine.child", "--dtype", dtype, "--keep-loaded", str(keep_loaded)]
    child += ["--threads", str(threads)] if threads else []
    async with trio.open_nursery() as nursery:
        pool = Pool(catalog, command or child, nursery, grace_s, silence_s)
        pool.add_seat(device)
        if command is None:
            nursery.start_soon(pool.warm_up)
        yield pool
        nursery.cancel_scope.cancel()


class Pool:
    """Implements :class:`meshgen.engine.port.Engine`. Made by :func:`open_engine`, whose nursery owns its tasks."""

    def __init__(self, catalog: Catalog, command: Sequence[str], nursery: trio.Nursery, grace_s: float, silence_s: float) -> None:
        self.faults: dict[str, str] = {}  # models that are not offered, and why
        self._catalog = catalog
        self._checked = -1  # the catalog's version whose folders were looked at
        self._command = command
        self._nursery = nursery
        self._grace_s = grace_s
        self._silence_s = silence_s
        self._seats: list[Seat] = []
        self._free, self._wanted = trio.open_memory_channel[Seat](MAX_DEVICES)
        self._crashes: Counter[str] = Counter()
        self._speed = Speed()

    # -- the engine's port

    def device(self) -> DeviceInfo:
        return self._seats[0].device or DeviceInfo("cpu", "starting", 0, 0)

    def models(self) -> list[ModelInfo]:
        return [model.info for model in self._runnable().values()]

    def adapters(self) -> list[AdapterInfo]:
        return []

    def free_slots(self) -> int:
        return self._free.statistics().current_buffer_used

    def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:
        model = self._runnable().get(work_model)
        return self._speed.estimate_s(model.info, self.device().kind, width, height, steps, count) if model else 0.0

    @asynccontextmanager
    async def run(self, work: AnyWork) -> AsyncGenerator[AsyncIterator[EngineEvent]]:
        if not isinstance(work, Work):
            raise EngineError("unsupported", "this engine draws pictures only")
        request = self._request(work)
        async with aclosing(self._events(work, request)) as events:
            yield events

    # -- what open_engine needs

    def add_seat(self, device: str) -> None:
        if len(self._seats) < MAX_DEVICES:
            seat = Seat([*self._command, "--device", device], self._more_seats)
            self._seats.append(seat)
            self._nursery.start_soon(seat.keep)
            self._free.send_nowait(seat)

    async def warm_up(self) -> None:
        """Load a model and run it once, as small as can be: else the first job would wait for that."""
        for model in list(self._runnable().values())[-1:]:
            side = min(model.info.default_size, WARM_UP_SIDE)
            work = Work(model.name, "", "", side, side, 1, 5.0, "", (0,))
            with suppress(EngineError):  # the log has it, and the model's faults
                async with self.run(work) as events:
                    async for _ in events:
                        pass
            self._speed.forget(model.name)  # a first run says little about the next ones

    # -- inside

    def _more_seats(self, ready: Frame) -> None:
        """The first child finds the devices; those that it leaves get children of their own, once."""
        if len(self._seats) == 1:
            for device in ready["others"]:
                self.add_seat(device)

    def _runnable(self) -> dict[str, CatalogModel]:
        if all(seat.broken for seat in self._seats):
            return {}
        try:
            models = self._catalog.models()
        except CatalogError as error:
            log.error("engine: %s", error)
            return {}
        if self._catalog.version != self._checked:
            self._recheck()
        return {model.name: model for model in models if model.name not in self.faults}

    def _recheck(self) -> None:
        """The list changed: whoever changed it may have mended what was wrong."""
        self._checked = self._catalog.version
        self.faults.clear()
        self._crashes.clear()
        self._nursery.start_soon(self._check_models)

    async def _check_models(self) -> None:
        """Look at all folders, off the loop: it may have to hash gigabytes."""
        try:
            self.faults.update(await trio.to_thread.run_sync(self._catalog.check))
        except CatalogError as error:
            log.error("engine: %s", error)
        for name, fault in self.faults.items():
            log.warning("engine: model %s is not offered: %s", name, fault)

    def _request(self, work: Work) -> Frame:
        """The job as the child gets it. Raises EngineError for work that can't be done."""
        model = self._runnable().get(work.model)
        if model is None:
            fault = self.faults.get(work.model)
            raise EngineError("bad_model" if fault else "unknown_model", fault or f"no model {work.model!r} here")
        if min(work.width, work.height) < 1 or work.width * work.height > model.info.max_pixels:
            raise EngineError(
                "bad_input", f"{work.width}x{work.height}: {work.model} draws at most {model.info.max_pixels} pixels"
            )
        if not 1 <= work.steps <= MAX_STEPS:
            raise EngineError("bad_input", f"{work.steps} steps: there must be 1 to {MAX_STEPS}")
        if not work.seeds or not all(0 <= seed <= MAX_SEED for seed in work.seeds):
            raise EngineError("bad_input", "a job needs at least one seed, each a number from 0 to 2**64-1")
        if work.negative_prompt and "negative_prompt" not in model.info.features:
            raise EngineError("unsupported", f"{work.model} takes no negative prompt")
        return {"model": _model_frame(model), "work": asdict(work)}

    async def _events(self, work: Work, request: Frame) -> AsyncGenerator[EngineEvent]:
        """Waits for a seat and its child here, not before: whoever reads the events is free to do something else meanwhile."""
        seat, job = await self._wanted.receive(), None
        try:
            job = await seat.begin(work.steps, request)
            async with aclosing(self._watched(work, job)) as events:
                async for event in events:
                    yield event
        finally:
            self._nursery.start_soon(self._leave, seat, job, self._grace_s + self._step_s(work))

    def _step_s(self, work: Work) -> float:
        """What a job that is stopped may still take: the step that it is in, and a bit."""
        return self.estimate_s(work.model, work.width, work.height, 2, len(work.seeds))

    async def _watched(self, work: Work, job: Job) -> AsyncGenerator[EngineEvent]:
        """The job's events, with what is learned from them about the model."""
        try:
            async with aclosing(job.events(self._silence_s)) as events:
                async for event in events:
                    if isinstance(event, Picture):
                        self._crashes.pop(work.model, None)
                        self._speed.observe(work.model, work.width, work.height, work.steps, event.seconds)
                    yield event
        except EngineError as error:
            self._note_fault(work.model, error)
            raise

    def _note_fault(self, model: str, error: EngineError) -> None:
        log.warning("engine: a job of model %s failed: %s", model, error)
        if error.reason == "bad_model":
            self.faults[model] = str(error)
        elif error.reason == "crashed":
            self._crashes[model] += 1
            if self._crashes[model] >= MAX_CRASHES:
                self.faults[model] = f"it crashed the engine {MAX_CRASHES} times in a row; the last time: {error}"

    async def _leave(self, seat: Seat, job: Job | None, grace_s: float) -> None:
        """The seat is free again when its child has stopped: whoever left the job does not wait for that."""
        if job is not None:
            await seat.stop(job, grace_s)
        self._free.send_nowait(seat)


def _model_frame(model: CatalogModel) -> dict[str, Any]:
    return {"name": model.name, "path": str(model.path), "variant": model.variant, "allow_pickle": model.allow_pickle}
