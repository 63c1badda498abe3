"""The real engine, as the node sees it: the catalog's models, run by diffusers in one child process for each device.

torch never enters the node's process: it takes seconds to import and hundreds of megabytes, and its crash is everybody's.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import count as numbers

import trio

from meshgen.engine.models.catalog import Catalog, CatalogError, CatalogModel
from meshgen.engine.pool.batching import MAX_BATCH, key, most_pictures
from meshgen.engine.pool.dispatch import Dispatcher
from meshgen.engine.pool.forms import Alchemist, after, answer_of, check_posts
from meshgen.engine.pool.health import Health
from meshgen.engine.pool.orders import Order
from meshgen.engine.pool.requests import Adapters, request_of
from meshgen.engine.pool.speed import Speed
from meshgen.engine.port import (
    AdapterInfo,
    Answer,
    AnyWork,
    DeviceInfo,
    Engine,
    EngineError,
    EngineEvent,
    FormWork,
    ModelInfo,
    Picture,
    Room,
    TextWork,
    Work,
)

log = logging.getLogger(__name__)

GRACE_S = 2.0
SILENCE_S = 300.0
"""A child that says nothing for so long is replaced. Loading a large model from a slow disk is the longest silence there is."""
PATIENCE_S, PATIENCE_STEPS = 60.0, 20
"""Once it draws, a child of known speed is replaced sooner: after so long, or so many steps, if those take longer."""
LEAVE_FREE_MIB = 1024
WARM_UP_SIDE = 64  # pixels
BYTES_PER_TOKEN = 4
_NEEDED = ("torch", "diffusers", "transformers")


@asynccontextmanager
async def open_engine(
    catalog: Catalog,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    *,
    leave_free_mib: int = LEAVE_FREE_MIB,
    max_batch: int = MAX_BATCH,
    compiled: bool = False,
    quantized: str = "",
    alchemist: Alchemist | None = None,
    command: Sequence[str] | None = None,
    grace_s: float = GRACE_S,
    silence_s: float = SILENCE_S,
) -> AsyncGenerator[Engine]:
    """An engine until the context is left; all processes are gone then. Opens at once: the first job waits for the child.

    ``device`` is auto, cpu, mps, cuda (every one there is) or cuda:N; ``dtype`` auto, float32, float16 or bfloat16;
    models stay in the device's memory, but for ``leave_free_mib`` of it; ``max_batch`` pictures at most are drawn at once.
    ``compiled`` has torch compile the denoiser, ``quantized`` (int8, int4) has torchao shrink it. ``alchemist`` does forms and
    post-processing. ``command`` starts another child than the real one. Raises EngineError("unsupported").
    """
    if command is None and (missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]):
        raise EngineError("unsupported", f"{', '.join(missing)} not installed; for a worker: pip install 'meshgen-node[worker]'")
    child = [sys.executable, "-m", "meshgen.engine.diffusion.child", "--dtype", dtype, "--leave-free-mib", str(leave_free_mib)]
    child += ["--max-batch", str(max_batch)]
    child += ["--threads", str(threads)] if threads else []
    child += [*(["--compile"] if compiled else []), *(["--quantize", quantized] if quantized else [])]
    async with trio.open_nursery() as nursery:
        pool = Pool(catalog, command or child, nursery, grace_s, silence_s, max_batch, alchemist)
        pool.start(device)
        if command is None:
            nursery.start_soon(pool.warm_up)
        yield pool
        nursery.cancel_scope.cancel()


class Pool:
    """Implements :class:`meshgen.engine.port.Engine`. Made by :func:`open_engine`, whose nursery owns its tasks."""

    def __init__(
        self,
        catalog: Catalog,
        command: Sequence[str],
        nursery: trio.Nursery,
        grace_s: float,
        silence_s: float,
        max_batch: int = MAX_BATCH,
        alchemist: Alchemist | None = None,
    ) -> None:
        self._catalog = catalog
        self._checked = -1  # the catalog's version whose folders were looked at
        self._nursery = nursery
        self._grace_s = grace_s
        self._alchemist = alchemist
        self._max_batch = max_batch
        self._health = Health()
        self._speed = Speed()
        self._numbers = numbers(1)
        self._dispatcher = Dispatcher(command, silence_s, self, max_batch, self._health, nursery)

    # -- the engine's port

    def device(self) -> DeviceInfo:
        return self._dispatcher.seats[0].device or DeviceInfo("cpu", "starting", 0, 0)

    def models(self) -> list[ModelInfo]:
        drawn = [self._health.limited(model.info) for model in self._runnable().values()]
        return [*drawn, *(self._alchemist.forms() if self._alchemist else [])]

    def adapters(self) -> list[AdapterInfo]:
        posts = self._alchemist.posts() if self._alchemist else []
        return [*(adapter.info for adapter in self._adapters().values()), *posts]

    def free_slots(self) -> int:
        return self._dispatcher.free()

    def room(self) -> Room:
        """A job, or a party of jobs, for each device, and one more whose prompts are read meanwhile."""
        devices = sum(not seat.broken for seat in self._dispatcher.seats)
        return Room(max(devices, 1), devices)

    def company(self, work: AnyWork) -> tuple[Hashable | None, int]:
        if not isinstance(work, Work):
            return None, 1
        seats = self._dispatcher.seats
        return key(work), max((most_pictures(work, seat.batch_pixels, self._max_batch) for seat in seats), default=1)

    def estimate_s(self, work_model: str, width: int, height: int, steps: int, count: int) -> float:
        model = self._runnable().get(work_model)
        kind = self.device().kind
        if model is None:
            return self._alchemist.estimate_s(work_model, width * height) * count if self._alchemist else 0.0
        if model.info.family == "text":
            return self._speed.estimate_text_s(model.info, kind, steps, count)
        batch = min(count, self._max_batch)
        return self._speed.estimate_s(model.info, kind, width, height, steps, count, batch)

    @asynccontextmanager
    async def run(self, work: AnyWork) -> AsyncGenerator[AsyncIterator[EngineEvent]]:
        if isinstance(work, FormWork):
            async with aclosing(self._answers(work)) as answers:
                yield answers
            return
        order = self._order(work)
        self._dispatcher.submit(order)
        try:
            async with aclosing(self._events(order)) as events:
                yield events
        finally:
            self._nursery.start_soon(self._dispatcher.leave, order, self._grace_s + 2 * self._step_s(order))

    # -- what the node shows and asks

    @property
    def faults(self) -> dict[str, str]:
        """Models that are not offered, and why."""
        return self._health.faults

    @property
    def loads(self) -> int:
        """How often a model was read into a child that had not drawn with it."""
        return sum(seat.loads for seat in self._dispatcher.seats)

    def troubles(self) -> list[str]:
        """What the owner should know: devices that are gone, models that are not offered."""
        devices = [seat.broken for seat in self._dispatcher.seats if seat.broken]
        return devices + [f"{name} is not offered: {why}" for name, why in self.faults.items()]

    def estimate_error(self) -> float | None:
        """By how much estimates were off lately: the median, as a share of what it took. None before the first job."""
        return self._speed.error()

    # -- what open_engine needs

    def start(self, device: str) -> None:
        self._dispatcher.add_seat(device)
        self._nursery.start_soon(self._dispatcher.serve)

    async def warm_up(self) -> None:
        """Load a model and run it once, as small as can be: else the first job would wait for that."""
        drawing = [model for model in self._runnable().values() if model.info.family != "text"]
        for model in drawing[-1:]:
            side = min(model.info.default_size, WARM_UP_SIDE)
            work = Work(model.name, "", "", side, side, 1, 5.0, "", (0,))
            with suppress(EngineError):  # the log has it, and the model's faults
                async with self.run(work) as events:
                    async for _ in events:
                        pass
            self._speed.forget(model.name)  # a first run says little about the next ones

    # -- inside

    def _runnable(self) -> dict[str, CatalogModel]:
        if self._dispatcher.broken:
            return {}
        try:
            models = self._catalog.models()
        except CatalogError as error:
            log.error("engine: %s", error)
            return {}
        if self._catalog.version != self._checked:
            self._recheck()
        return {model.name: model for model in models if model.name not in self.faults}

    def _adapters(self) -> Adapters:
        try:
            return {adapter.info.digest: adapter for adapter in self._catalog.adapters()}
        except CatalogError:  # models() says so
            return {}

    def _recheck(self) -> None:
        """The list changed: whoever changed it may have mended what was wrong."""
        self._checked = self._catalog.version
        self._health.forget()
        self._nursery.start_soon(self._check_models)

    async def _check_models(self) -> None:
        """Look at all folders, off the loop: it may have to hash gigabytes."""
        try:
            self.faults.update(await trio.to_thread.run_sync(self._catalog.check))
        except CatalogError as error:
            log.error("engine: %s", error)
        for name, fault in self.faults.items():
            log.warning("engine: model %s is not offered: %s", name, fault)

    def _order(self, work: Work | TextWork) -> Order:
        """Raises EngineError for work that can't be done."""
        model = self._runnable().get(work.model)
        if model is None:
            fault = self.faults.get(work.model)
            raise EngineError("bad_model" if fault else "unknown_model", fault or f"no model {work.model!r} here")
        if isinstance(work, Work) and work.post:
            check_posts(self._alchemist, work.post)
        header = request_of(work, model, self._health.limited(model.info).max_pixels, self._adapters())
        return Order(next(self._numbers), work, header)

    async def _events(self, order: Order) -> AsyncGenerator[EngineEvent]:
        """The job's events, with what is learned from them about the model."""
        work = order.work
        async with aclosing(order.events()) as events:
            async for event in events:
                if isinstance(event, Picture | Answer):
                    self._learn(order, event)
                if isinstance(event, Picture) and isinstance(work, Work) and self._alchemist:
                    yield await after(self._alchemist, work.post, event)
                else:
                    yield event

    async def _answers(self, work: FormWork) -> AsyncGenerator[EngineEvent]:
        yield await answer_of(self._alchemist, work)

    def _learn(self, order: Order, event: Picture | Answer) -> None:
        work = order.work
        self._health.passed(work.model)
        if isinstance(work, Work):
            batch = min(order.company, self._max_batch)
            self._speed.observe(work.model, work.width, work.height, work.steps, event.seconds, batch)
        elif isinstance(event, Answer):
            self._speed.observe_text(work.model, len(event.data) // BYTES_PER_TOKEN, event.seconds)

    def _step_s(self, order: Order) -> float:
        """One step of the batch that it is in, as estimated."""
        work = order.work
        if isinstance(work, TextWork):
            return self.estimate_s(work.model, 0, 0, 1, 1)
        return self.estimate_s(work.model, work.width, work.height, 1, order.company) / 2

    def work_s(self, order: Order) -> float:
        work = order.work
        if isinstance(work, TextWork):
            return self.estimate_s(work.model, 0, 0, work.max_tokens, order.pictures)
        return self.estimate_s(work.model, work.width, work.height, work.steps, order.pictures)

    def patience_s(self, order: Order) -> float:
        if not self._speed.measured(order.work.model):
            return SILENCE_S
        return max(PATIENCE_S, PATIENCE_STEPS * self._step_s(order))
