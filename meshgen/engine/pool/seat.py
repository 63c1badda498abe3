"""A seat is a device with a child process on it: kept alive, given a batch of jobs, and the next one shortly before its end.

The child ends when its standard input does, so it never outlives the node, however that dies. (Linux's parent-death signal would
not do: it fires when the *thread* that started the child ends, and trio starts processes from a passing thread.)
"""

from __future__ import annotations

import logging
import math
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import trio

from meshgen.engine.pool.frames import Frame, FrameError, Unpacker, pack, work_to_map
from meshgen.engine.pool.orders import Batch, Order
from meshgen.engine.port import DeviceInfo, EngineError

log = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
OWN_END_S = 3.0
"""A child whose output ended is given so long to end by itself, so that its exit code tells why."""
REAP_S = 5.0
RETRY_S = 600.0
"""A device that was there and is gone is looked for again so much later: drivers come back."""
LOADING_GRACE_S = 20.0
"""A child that has not begun to draw may be reading a model: killing it would cost more than waiting."""
_READ_BYTES = 1 << 20


class Keeper(Protocol):
    """Who is told what happens on a seat."""

    def on_ready(self, others: Sequence[str]) -> None:
        """A child has come up, and sees these devices beside its own."""

    def on_room(self) -> None:
        """Another batch can be given, or never again, if the seat is broken."""

    def on_failed(self, order: Order, error: EngineError, company: int) -> None:
        """It failed, where the child had ``company`` jobs, itself included."""


class Seat:
    def __init__(self, command: Sequence[str], device: str, keeper: Keeper, silence_s: float) -> None:
        self.device: DeviceInfo | None = None
        self.batch_pixels = 0
        self.broken = ""  # why no child can run here
        self.batches: list[Batch] = []
        """The one that is drawn, and at most one behind it."""
        self.warm: set[str] = set()
        """Models that this child has drawn with."""
        self.loads = 0  # how often one became so
        self._command = list(command)
        self._place = device
        self._keeper = keeper
        self._silence_s = silence_s
        self._up = False
        self._why_killed = ""
        self._patience = trio.CancelScope()
        self._limit_s = math.inf
        self._process: trio.Process | None = None
        self._out, _ = trio.open_memory_channel[Frame](0)

    @property
    def has_room(self) -> bool:
        return self._up and (
            not self.batches or (len(self.batches) == 1 and self.batches[0].nearly and not self.batches[0].alone)
        )

    async def keep(self) -> None:
        """Have a child here, and another one when it dies, until cancelled or broken for good."""
        while True:
            await self._lives()
            log.error("engine: no work on device %s: %s", self._place, self.broken)
            self._keeper.on_room()
            if self.device is None:
                return
            await trio.sleep(RETRY_S)
            self.broken = ""

    def begin(self, batch: Batch, header: Frame) -> None:
        """Give the child a batch. It must have room."""
        self.batches.append(batch)
        members = [{"job": order.number, "work": work_to_map(order.work)} for order in batch.members.values()]
        self._out.send_nowait({"do": "run", "members": members, **header})
        self._be_patient()

    async def stop(self, order: Order, grace_s: float) -> None:
        """Have a job stopped within a step; a child that does not within ``grace_s`` is killed, unless others are drawn there."""
        batch = next((batch for batch in self.batches if order.number in batch.members), None)
        if batch is None:
            return
        if self._up:
            self._out.send_nowait({"do": "cancel", "job": order.number})
        with trio.move_on_after(grace_s if batch.started else grace_s + LOADING_GRACE_S):
            await order.ended.wait()
        if not order.ended.is_set() and batch.abandoned and self.batches[0] is batch:
            self._kill(f"did not stop a job within {grace_s:g} s")
            await order.ended.wait()

    # -- a child's life

    async def _lives(self) -> None:
        failed_starts = 0
        while not self.broken:
            try:
                came_up, code = await self._one_life()
            except OSError as error:
                self.broken = f"the engine's process can't be started: {error}"
                return
            failed_starts = 0 if came_up else failed_starts + 1
            if failed_starts >= MAX_FAILED_STARTS and not self.broken:
                self.broken = f"the engine's process ended {failed_starts} times before it was ready ({_how(code)})"

    async def _one_life(self) -> tuple[bool, int]:
        """Runs one child to its end. Returns (it came up, exit code)."""
        command = [*self._command, "--device", self._place]
        process = self._process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._why_killed, came_up, code = "", False, -signal.SIGKILL
        self._out, frames = trio.open_memory_channel[Frame](math.inf)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_write, process, frames)
                nursery.start_soon(self._watch)
                await self._listen(process)
                with trio.move_on_after(OWN_END_S):
                    await process.wait()
                nursery.cancel_scope.cancel()
        finally:
            came_up, self._up = self._up, False
            code = await _reap(process)
            self._lose(EngineError("crashed", self._why_killed or f"the engine's process ended during the job ({_how(code)})"))
        return came_up, code

    def _lose(self, error: EngineError) -> None:
        """The child is gone: with it what it was given, through whoever's fault. The first batch may still have been at its end
        when the second was begun: of two, neither is blamed."""
        batches, self.batches = self.batches, []
        self.warm.clear()
        given = sum(batch.size for batch in batches)
        for batch in batches:
            for order in batch.members.values():
                if order.gone:
                    order.end()
                else:
                    self._keeper.on_failed(order, error, given)

    async def _watch(self) -> None:
        """Kill a child that says nothing though it has something to do."""
        with trio.CancelScope() as self._patience:
            self._be_patient()
            await trio.sleep_forever()
        self._kill(f"gave no sign of life for {self._limit_s:g} s")

    def _be_patient(self) -> None:
        """From now on, for as long as what it does may take."""
        self._limit_s = math.inf
        if self.batches:
            started, own = self.batches[0].started, self.batches[0].silence_s
            self._limit_s = min(self._silence_s, own) if started else self._silence_s
        self._patience.deadline = trio.current_time() + self._limit_s

    def _kill(self, why: str) -> None:
        log.warning("engine: its process %s and is replaced", why)
        self._why_killed = f"the engine {why}"
        if self._process is not None:
            self._process.kill()

    async def _listen(self, process: trio.Process) -> None:
        assert process.stdout is not None
        unpacker = Unpacker()
        async with process.stdout:
            while data := await process.stdout.receive_some(_READ_BYTES):
                try:
                    for frame in unpacker.feed(data):
                        self._hear(frame)
                    self._be_patient()
                except (FrameError, KeyError, TypeError) as error:
                    self._kill(f"speaks nonsense ({error})")
                    return

    def _hear(self, frame: Frame) -> None:
        match frame["is"]:
            case "ready":
                self._come_up(frame)
            case "broken":
                self.broken = frame["message"]
            case "ended":
                self._end(frame)
            case _:
                self._pass_on(frame)

    def _come_up(self, frame: Frame) -> None:
        self.device = DeviceInfo(**frame["device"])
        self.batch_pixels = frame["batch_pixels"]
        self._place = frame["place"]  # from now on this device and no other: work does not slip from a lost card to the processor
        self._up = True
        self._keeper.on_ready(frame["others"])

    def _pass_on(self, frame: Frame) -> None:
        for batch in self.batches:
            if order := batch.members.get(frame["job"]):
                batch.started = True
                order.hear(frame)
                if self.has_room:
                    self._keeper.on_room()

    def _end(self, frame: Frame) -> None:
        """One member's end."""
        if self.device:
            self.device = replace(self.device, vram_free_mib=frame["vram_free_mib"])
        for batch in [batch for batch in self.batches if frame["job"] in batch.members]:
            order = batch.members.pop(frame["job"])
            if not batch.members:
                self.batches.remove(batch)
            self._settle(order, batch, frame)
            self._keeper.on_room()

    def _settle(self, order: Order, batch: Batch, frame: Frame) -> None:
        if order.gone or (order.done and not frame["reason"]):
            self.loads += order.work.model not in self.warm
            self.warm.add(order.work.model)
            order.end()
        else:
            reason, message = frame["reason"] or "crashed", frame["message"] or "the engine left pictures out"
            self._keeper.on_failed(order, EngineError(reason, message), batch.size)


async def _write(process: trio.Process, frames: trio.MemoryReceiveChannel[Frame]) -> None:
    """A child that is gone hears nothing; its jobs are ended by whoever notices the death."""
    assert process.stdin is not None
    async for frame in frames:
        try:
            await process.stdin.send_all(pack(frame))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def _reap(process: trio.Process) -> int:
    """Make sure that it is dead; returns its exit code, negative for a signal."""
    process.kill()
    with trio.move_on_after(REAP_S, shield=True):
        await process.wait()
    if process.stdin is not None:
        await trio.aclose_forcefully(process.stdin)
    return process.returncode if process.returncode is not None else -signal.SIGKILL


def _how(code: int) -> str:
    if code == -signal.SIGKILL:
        return "it was killed; if nobody did, the machine ran out of memory"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
