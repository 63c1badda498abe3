"""Many signatures, verified by all cores.

A few are verified by threads. While a long log is pulled, processes do it: threads would change places under the interpreter's
lock for each signature, which costs a third of the rate and leaves the loop little time for everything else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack  # type: ignore[import-untyped]
import trio

from meshgen.identity import verify
from meshgen.ledger.judging import Signature
from meshgen.ledger.verifier import IDLE_S, LENGTH_BYTES

MANY = 2048
"""After so many signatures in a row processes are worth their start, 0.1 s of CPU time and 25 MB each."""
MAX_PROCESSES = 5
"""The loop finds no work for more. One more than there are cores, as each waits for the loop now and then."""
COMMAND = (sys.executable, "-m", "meshgen.ledger.verifier")


@dataclass(slots=True)
class _Verifier:
    process: trio.Process
    used: float

    @classmethod
    async def start(cls) -> _Verifier:
        process = await trio.lowlevel.open_process(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return cls(process, trio.current_time())

    async def ask(self, signatures: Sequence[Signature]) -> bytes:
        """Raises trio.BrokenResourceError if it has ended. Must not be used again if this was cancelled."""
        assert self.process.stdin and self.process.stdout
        request, answer = msgpack.packb(signatures), bytearray()
        await self.process.stdin.send_all(len(request).to_bytes(LENGTH_BYTES, "big") + request)
        while len(answer) < len(signatures):
            data = await self.process.stdout.receive_some()
            if not data:
                raise trio.BrokenResourceError
            answer += data
        self.used = trio.current_time()
        return bytes(answer)

    async def end(self) -> None:
        self.process.kill()
        with trio.CancelScope(shield=True):
            await self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream:
                    await stream.aclose()


class Verifiers:
    """One a ledger. :meth:`close` ends what it has started."""

    def __init__(self) -> None:
        cores = os.cpu_count() or 1
        self._threads = trio.CapacityLimiter(cores)
        self._processes = trio.CapacityLimiter(min(cores + 1, MAX_PROCESSES))
        self._idle: list[_Verifier] = []
        self._in_a_row = 0
        self._asked = -IDLE_S

    async def verify(self, signatures: Sequence[Signature]) -> Sequence[bool]:
        """Whether each is good by rule R1."""
        now = trio.current_time()
        self._in_a_row = len(signatures) + (self._in_a_row if now - self._asked < IDLE_S else 0)
        self._asked = now
        if self._in_a_row > MANY:
            async with self._processes:
                if (answer := await self._ask(signatures)) is not None:
                    return [bool(good) for good in answer]
        return await trio.to_thread.run_sync(verify_all, signatures, limiter=self._threads)

    def waiting(self) -> list[trio.Process]:
        """The processes that have nothing to do just now."""
        return [one.process for one in self._idle]

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for one in idle:
            await one.end()

    async def _ask(self, signatures: Sequence[Signature]) -> bytes | None:
        """None if no process can be had, or if it ended in the middle."""
        try:
            one = await self._fresh()
        except OSError:
            return None
        answer = None
        try:
            answer = await one.ask(signatures)
        except trio.BrokenResourceError:
            return None
        finally:
            if answer is None:
                await one.end()
            else:
                self._idle.append(one)
        return answer

    async def _fresh(self) -> _Verifier:
        """One that has not gone home for want of work."""
        while self._idle:
            one = self._idle.pop()
            if trio.current_time() - one.used < IDLE_S / 2:
                return one
            await one.end()
        return await _Verifier.start()


def verify_all(signatures: Sequence[Signature]) -> list[bool]:
    return [verify(*signature) for signature in signatures]
