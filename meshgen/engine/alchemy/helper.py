"""A helper is a child process that does one form after the other: started when there is something to do, ended when it idles."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio

from meshgen.engine.pool.frames import Frame, FrameError, Unpacker, pack
from meshgen.engine.port import EngineError

REAP_S = 5.0
_READ_BYTES = 1 << 20


class Helper:
    """One job at a time. A job that is given up takes its process with it: nothing else stops a network in the middle."""

    def __init__(self, command: Sequence[str], silence_s: float) -> None:
        self._command = list(command)
        self._silence_s = silence_s
        self._process: trio.Process | None = None
        self.resting: trio.CancelScope | None = None

    async def ask(self, request: Frame) -> Frame:
        """The answer to a request. Raises EngineError, also if the child is silent for too long or dies."""
        whole = False
        try:
            process = await self._present()
            with trio.fail_after(self._silence_s):
                await process.stdin.send_all(pack(request))  # type: ignore[union-attr]
            answer = await self._answer(process)
            whole = answer.get("reason") != "out_of_memory"  # what it holds is given back with it
        except trio.TooSlowError:
            raise EngineError("crashed", f"alchemy gave no sign of life for {self._silence_s:g} s") from None
        except (trio.BrokenResourceError, trio.EndOfChannel):
            raise EngineError("crashed", f"alchemy's process ended during the job ({await self._how()})") from None
        except (FrameError, KeyError):
            raise EngineError("crashed", "alchemy's process spoke nonsense") from None
        except OSError as error:
            raise EngineError("unsupported", f"alchemy's process can't be started: {error.strerror}") from None
        finally:
            if not whole:
                await self.stop()
        if reason := answer.get("reason"):
            raise EngineError(reason, answer["message"])
        return answer

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with trio.move_on_after(REAP_S, shield=True):
            await process.wait()
        with trio.CancelScope(shield=True):
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await trio.aclose_forcefully(pipe)

    async def _present(self) -> trio.Process:
        if self._process is not None and self._process.poll() is not None:
            await self.stop()
        if self._process is None:
            self._process = await trio.lowlevel.open_process(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    async def _answer(self, process: trio.Process) -> Frame:
        """The first frame that is more than a sign of life."""
        unpacker = Unpacker()
        while True:
            with trio.fail_after(self._silence_s):
                data = await process.stdout.receive_some(_READ_BYTES)  # type: ignore[union-attr]
            if not data:
                raise trio.EndOfChannel
            for frame in unpacker.feed(data):
                if frame["is"] != "alive":
                    return frame

    async def _how(self) -> str:
        """How the process ended, once it has closed its output."""
        code: int | None = None
        with trio.move_on_after(REAP_S):
            code = await self._process.wait() if self._process else None
        if code is None:
            return "it closed its output"
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class Crew:
    """Helpers of one kind: whoever waited least is taken first, so that the others come to rest."""

    def __init__(self, command: Sequence[str], size: int, silence_s: float, idle_s: float, nursery: trio.Nursery) -> None:
        self.size = size
        self._waiting = [Helper(command, silence_s) for _ in range(size)]
        self._free = trio.Semaphore(size)
        self._idle_s = idle_s
        self._nursery = nursery

    def free(self) -> int:
        return self._free.value

    @asynccontextmanager
    async def helper(self) -> AsyncGenerator[Helper]:
        async with self._free:
            helper = self._waiting.pop()
            if helper.resting is not None:
                helper.resting.cancel()
            try:
                yield helper
            finally:
                self._waiting.append(helper)
                helper.resting = trio.CancelScope()
                self._nursery.start_soon(self._rest, helper, helper.resting)

    async def close(self) -> None:
        """Every process is gone then. Nobody may be at work any more."""
        with trio.CancelScope(shield=True):
            for helper in self._waiting:
                await helper.stop()

    async def _rest(self, helper: Helper, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(self._idle_s)
            await helper.stop()
