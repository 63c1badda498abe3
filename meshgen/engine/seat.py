"""A seat is a device with a child process on it: kept alive, given one job at a time.

The child ends when its standard input does, so it never outlives the node, however that dies. (Linux's parent-death signal would
not do: it fires when the *thread* that started the child ends, and trio starts processes from a passing thread.)
"""

from __future__ import annotations

import logging
import math
import signal
import subprocess
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

import trio

from meshgen.engine.frames import Frame, FrameError, Unpacker, pack
from meshgen.engine.port import DeviceInfo, EngineError, EngineEvent, Picture, Preview, Progress

log = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
OWN_END_S = 3.0
"""A child whose output ended is given so long to end by itself, so that its exit code tells why."""
REAP_S = 5.0
_READ_BYTES = 1 << 20


class Job:
    """One job that a child has been given. Its events wait here until they are read, so a slow reader never blocks the child."""

    def __init__(self, number: int, steps: int) -> None:
        self.number = number
        self.ended = trio.Event()
        self._steps = steps
        self._send, self._receive = trio.open_memory_channel[EngineEvent | EngineError](math.inf)

    async def events(self, silence_s: float) -> AsyncGenerator[EngineEvent]:
        """Until the job ends. Raises EngineError, also if the child gives no sign of life for ``silence_s``."""
        while True:
            try:
                with trio.fail_after(silence_s):
                    event = await self._receive.receive()
            except trio.EndOfChannel:
                return
            except trio.TooSlowError:
                raise EngineError("crashed", f"the engine gave no sign of life for {silence_s:g} s") from None
            if isinstance(event, EngineError):
                raise event
            yield event

    def hear(self, frame: Frame) -> None:
        match frame["is"]:
            case "progress":
                for index in frame["indexes"]:
                    self._send.send_nowait(Progress(index, frame["step"], self._steps))
            case "preview":
                self._send.send_nowait(Preview(frame["index"], frame["step"], frame["jpeg"]))
            case "picture":
                self._send.send_nowait(Picture(frame["index"], frame["seed"], frame["png"], frame["seconds"]))
            case "ended":
                self.end(EngineError(frame["reason"], frame["message"]) if frame["reason"] else None)

    def end(self, error: EngineError | None = None) -> None:
        if not self.ended.is_set():
            if error:
                self._send.send_nowait(error)
            self._send.close()
            self.ended.set()


class Seat:
    """``on_ready`` is called with each ready frame, hence once for every child that comes up."""

    def __init__(self, command: Sequence[str], on_ready: Callable[[Frame], None] = lambda _: None) -> None:
        self.device: DeviceInfo | None = None
        self.broken = ""  # why no child can run here
        self._command = list(command)
        self._on_ready = on_ready
        self._ready = trio.Event()
        self._process: trio.Process | None = None
        self._jobs = 0
        self._job: Job | None = None

    async def keep(self) -> None:
        """Have a child here, and another one when it dies, until cancelled or broken."""
        failed_starts = 0
        while not self.broken:
            try:
                came_up, code = await self._one_life()
            except OSError as error:
                self.broken = f"the engine's process can't be started: {error}"
                break
            failed_starts = 0 if came_up else failed_starts + 1
            if failed_starts >= MAX_FAILED_STARTS:
                self.broken = (
                    self.broken or f"the engine's process ended {failed_starts} times before it was ready ({_how(code)})"
                )
        log.error("engine: %s", self.broken)
        self._ready.set()

    async def begin(self, steps: int, request: Frame) -> Job:
        """Give the child a job; waits for it to come up. Raises EngineError."""
        await self._ready.wait()
        if self.broken:
            raise EngineError("unsupported", self.broken)
        self._jobs += 1
        self._job = Job(self._jobs, steps)
        await self._tell({"do": "run", "job": self._jobs, **request})
        return self._job

    async def stop(self, job: Job, grace_s: float) -> None:
        """Have a job stopped within a step; a child that does not within ``grace_s`` is killed."""
        with trio.move_on_after(grace_s):
            if not job.ended.is_set():
                await self._tell({"do": "cancel", "job": job.number})
            await job.ended.wait()
        if not job.ended.is_set() and self._process is not None:
            log.warning("engine: its process did not stop a job within %g s and is replaced", grace_s)
            self._process.kill()
            await job.ended.wait()

    async def _tell(self, frame: Frame) -> None:
        """A child that is gone hears nothing; its job is ended by whoever notices the death. Never half a frame."""
        assert self._process is not None and self._process.stdin is not None
        with trio.CancelScope(shield=True):
            try:
                await self._process.stdin.send_all(pack(frame))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def _one_life(self) -> tuple[bool, int]:
        """Runs one child to its end. Returns (it came up, exit code)."""
        process = await trio.lowlevel.open_process(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process = process
        try:
            await self._listen(process)
            with trio.move_on_after(OWN_END_S):
                await process.wait()
        finally:
            came_up = self._ready.is_set()
            if came_up:
                self._ready = trio.Event()
            code = await _reap(process)
            if self._job:
                self._job.end(EngineError("crashed", f"the engine's process ended during the job ({_how(code)})"))
        return came_up, code

    async def _listen(self, process: trio.Process) -> None:
        assert process.stdout is not None
        unpacker = Unpacker()
        async with process.stdout:
            while data := await process.stdout.receive_some(_READ_BYTES):
                try:
                    for frame in unpacker.feed(data):
                        self._hear(frame)
                except (FrameError, KeyError, TypeError) as error:
                    log.error("engine: its process speaks nonsense (%s) and is replaced", error)
                    process.kill()
                    return

    def _hear(self, frame: Frame) -> None:
        match frame["is"]:
            case "ready":
                self.device = DeviceInfo(**frame["device"])
                self._ready.set()
                self._on_ready(frame)
            case "broken":
                self.broken = frame["message"]
            case "ended" if self.device:
                self.device = replace(self.device, vram_free_mib=frame["vram_free_mib"])
        if self._job and frame.get("job") == self._job.number:
            self._job.hear(frame)


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
