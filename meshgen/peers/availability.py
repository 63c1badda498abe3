"""Does this worker take work now, and if not, why: the owner's pause, the hours, heat and power, the engine, the models.

Whatever shuts it, jobs that it has accepted go on to their end, unless the owner wants them stopped at once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trio

from meshgen.engine.pool.sensors import Reading, read_sensors
from meshgen.engine.port import Engine, ModelInfo
from meshgen.peers.ceilings import Ceiling
from meshgen.peers.hours import Hours, LocalTime, local_time
from meshgen.peers.matching import No
from meshgen.peers.membership import State
from meshgen.peers.pausing import MAX_MESSAGE, MAX_PAUSE_MS, Pause, keep_pause, read_pause
from meshgen.peers.rules import NONE_SERVED
from meshgen.settings import WorkerSettings

log = logging.getLogger(__name__)

POLL_S = 10.0
COOLING_C = 5.0
"""So many degrees below the ceiling it goes on."""
SAVING = 0.1
"""...and so much of the power ceiling below that."""
MAX_TROUBLES = 3
"""Of an engine that are told as one reason."""


@dataclass(frozen=True, slots=True)
class Why:
    """What keeps it from working: paused, hours, too_hot, power, driver, stranger, expelled, engine or no_model.

    ``until_ms`` 0: unknown.
    """

    code: str
    text: str
    until_ms: int = 0


_OUTSIDE = {
    "stranger": Why("stranger", "this node is not a member of its mesh yet: a delegate has to admit it"),
    "expelled": Why("expelled", "a delegate has expelled this node from its mesh"),
}


class Availability:
    """``served`` are the models that it would offer. ``on_change`` is called when it begins or ceases to take work.

    Without a home a pause is forgotten with the process.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        engine: Engine,
        served: Callable[[], list[ModelInfo]],
        now_ms: Callable[[], int],
        on_change: Callable[[], None],
        *,
        home: Path | None = None,
        local: LocalTime = local_time,
        sensors: Callable[[], Awaitable[Reading]] = read_sensors,
    ) -> None:
        self._engine = engine
        self._served = served
        self._now_ms = now_ms
        self._on_change = on_change
        self._home = home
        self._sensors = sensors
        self._local = local
        self.follow(settings)
        self._reading = Reading()
        self._pause = read_pause(home) if home else None
        self._jobs: dict[object, Callable[[], None]] = {}  # how each is stopped
        self._idle: trio.Event | None = None  # there once it is to be left; set when the last job is over
        self._was: str | None = None  # what shut it when that was last looked at
        self.fault: Callable[[], str] = lambda: ""
        """Why this node can work for nobody, whatever its owner's rules say: its credit log can't be written."""
        self.membership: Callable[[], State] = lambda: "open"
        """Of this node in its mesh: where it is none of the members', nobody asks it for anything."""

    def follow(self, settings: WorkerSettings) -> None:
        """The owner's hours and ceilings from now on."""
        self._hours = Hours(settings.hours, self._local)
        self._heat = Ceiling("temperature", settings.max_temperature_c, COOLING_C, "degrees Celsius")
        self._power = Ceiling("power", settings.max_power_w, settings.max_power_w * SAVING, "watts")

    # -- for the worker

    def closed(self) -> Why | None:
        """What the owner's rules have against new work now: for every offer, so it costs little."""
        now = self._now_ms()
        if self._idle is not None:
            return Why("stopping", "this node is stopping")
        if fault := self.fault():
            return Why("log", fault)
        if self._pause is not None and self._pause.over(now):
            self._pause = None
        if self._pause is not None:
            message = self._pause.message
            return Why("paused", "paused by the owner" + (f": {message}" if message else ""), self._pause.until_ms)
        if not self._hours.open_at(now):
            return Why("hours", "outside the hours that the owner set (worker.hours)")
        if self._watched and self._reading.fault:
            return Why("driver", f"the device's driver does not answer, so no ceiling can be kept: {self._reading.fault}")
        shut = next(((code, ceiling) for code, ceiling in self._ceilings if ceiling.shut), None)
        return Why(shut[0], f"{shut[1]}") if shut else None

    def no(self) -> No | None:
        """The refusal of an offer; its limit is the seconds after which it takes work again, if that is known."""
        why = self.closed()
        return No("paused", max(0, self._ends_ms(why) - self._now_ms()) // 1000) if why else None

    @contextmanager
    def job(self, stop: Callable[[], None]) -> Iterator[None]:
        """Around a job that was accepted; ``stop`` is called if the owner wants everything stopped at once."""
        ticket = object()
        self._jobs[ticket] = stop
        try:
            yield
        finally:
            del self._jobs[ticket]
            if self._idle is not None and not self._jobs:
                self._idle.set()

    async def leave(self) -> None:
        """No new work any more; returns once what was accepted is over."""
        if self._idle is None:
            self._idle = trio.Event()
            self._tell()
        if self._jobs:
            await self._idle.wait()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look at the clock and the sensors every POLL_S, and say what changes."""
        await self._look()
        for note in self._notes():
            log.warning("%s", note)
        task_status.started()
        while True:
            await trio.sleep(POLL_S)
            await self._look()

    # -- for the owner

    def pause(self, for_ms: int = 0, message: str = "", *, now: bool = False) -> None:
        """No new work until ``resume``, or for so long. ``now`` drops what was accepted too. Raises ValueError, OSError."""
        if not 0 <= for_ms <= MAX_PAUSE_MS:
            raise ValueError("a pause lasts a year at most; without an end, until `meshgen resume`")
        if len(message) > MAX_MESSAGE or not message.isprintable():
            raise ValueError(f"a message is one line of at most {MAX_MESSAGE} characters")
        started = self._now_ms()
        self._set_pause(Pause(started, started + for_ms if for_ms else 0, message))
        for stop in tuple(self._jobs.values()) if now else ():
            stop()

    def resume(self) -> None:
        """End the owner's pause; hours and ceilings still count. Raises OSError."""
        self._set_pause(None)

    def reasons(self) -> list[Why]:
        """Everything that keeps it from working; empty if it takes work."""
        closed = self.closed()
        until = Why(closed.code, closed.text, self._ends_ms(closed)) if closed else None
        return [why for why in (until, _OUTSIDE.get(self.membership()), self._unable()) if why]

    def state(self) -> dict[str, Any]:
        """For status, fit for JSON."""
        reasons = self.reasons()
        return {
            "takes_work": not reasons,
            "reasons": [asdict(why) for why in reasons],
            "paused": asdict(self._pause) if self._pause else None,
            "jobs": len(self._jobs),
            "sensors": asdict(self._reading) if self._watched else None,
            "troubles": troubles_of(self._engine),
            "notes": self._notes(),
        }

    # -- inside

    @property
    def _ceilings(self) -> tuple[tuple[str, Ceiling], ...]:
        return ("too_hot", self._heat), ("power", self._power)

    @property
    def _watched(self) -> bool:
        return any(ceiling.limit for _, ceiling in self._ceilings)

    async def _look(self) -> None:
        if self._watched:
            self._reading = await self._sensors()
            self._heat.see(self._reading.temperature_c)
            self._power.see(self._reading.power_w)
        self._tell()

    def _tell(self) -> None:
        why = self.closed()
        code = why.code if why else None
        if code == self._was:
            return
        self._was = code
        log.info("the worker takes no new work: %s", why.text) if why else log.info("the worker takes work again")
        self._on_change()

    def _set_pause(self, pause: Pause | None) -> None:
        if self._home is not None:
            keep_pause(self._home, pause)
        self._pause = pause
        self._tell()

    def _ends_ms(self, why: Why) -> int:
        return (self._hours.next_change(self._now_ms()) or 0) if why.code == "hours" else why.until_ms

    def _unable(self) -> Why | None:
        """The engine's own reasons."""
        if self._served():
            return None
        if self._engine.models():
            return Why("no_model", NONE_SERVED)
        if troubles := troubles_of(self._engine):
            return Why("engine", "; ".join(troubles[:MAX_TROUBLES]))
        text = "no model is installed, or the engine can't start, and no bridged worker asks for jobs"
        return Why("no_model", f"{text}; see `meshgen models ls` and the node's log")

    def _notes(self) -> list[str]:
        silent = [ceiling.name for _, ceiling in self._ceilings if ceiling.limit and ceiling.value is None]
        return [f"nothing tells the device's {name} on this machine: its ceiling can't be kept" for name in silent]


def troubles_of(engine: Engine) -> list[str]:
    """What an engine says of itself: devices that are gone, models that it took off its list. Not every engine does."""
    troubles = getattr(engine, "troubles", None)
    return [str(trouble) for trouble in troubles()] if callable(troubles) else []
