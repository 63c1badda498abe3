"""The in-memory net's channels: two pipes with delay, held in order, bounded, and breakable at will."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from meshgen.net.guard import check_message
from meshgen.net.port import PeerId, Unreachable

if TYPE_CHECKING:
    from meshgen.net.memory_net import MemoryNet

WINDOW_BYTES = 2 * 1024 * 1024
"""How much one direction of a channel holds before its sender waits."""


class MemoryChannel:
    """One end of a channel: reads from one pipe, writes to the other."""

    def __init__(self, net: MemoryNet, peer: PeerId, protocol: str, number: int, *, inbound: Pipe, outbound: Pipe) -> None:
        self._net = net
        self._mesh = net._mesh
        self._peer = peer
        self.protocol = protocol
        self._number = number
        self._in = inbound
        self._out = outbound
        self._sent = 0
        self._ended = False

    @property
    def peer(self) -> PeerId:
        return self._peer

    async def send(self, *messages: bytes, last: bool = False) -> None:  # noqa: ARG002 - leaving the channel tells it here
        for message in messages:
            check_message(message)
        await self._net.awake.wait()
        for message in messages:
            self._mesh.note("message", self._net.peer_id, self.protocol, message, self.peer)
            await self._out.send(bytes(message), self._arrival())

    async def receive(self) -> bytes | None:
        if self._ended:
            await trio.lowlevel.checkpoint()
            return None
        await self._net.awake.wait()
        message = await self._in.receive()
        await self._net.awake.wait()
        self._ended = message is None
        return message

    def close(self, *, clean: bool) -> None:
        self._net.forget(self)
        reset = None if clean else f"{self._net.peer_id} reset the channel"
        self._out.finish(self._arrival(), reset)
        if reset:
            self._in.fail(reset)
        else:
            self._in.abandon()

    def fail(self, why: str) -> None:
        """Both directions are gone at once, as when a connection breaks."""
        self._in.fail(why)
        self._out.fail(why)

    def hang(self) -> None:
        """What is sent from here on, or under way, is lost, and neither side is told."""
        self._in.hang()
        self._out.hang()

    def _arrival(self) -> float:
        self._sent += 1
        return trio.current_time() + self._mesh.delay(self._net.peer_id, self._peer, self.protocol, self._number, self._sent)


class Pipe:
    """One direction of a channel: ordered, delayed, bounded. Its last frame is its end (None) or the reason of its reset."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, bytes | Unreachable | None]] = deque()
        self._bytes = 0
        self._last_arrival_s = 0.0
        self._abandoned = False
        self._hung = False
        self._failure: str | None = None
        self._changed = trio.lowlevel.ParkingLot()

    async def send(self, message: bytes, arrival_s: float) -> None:
        await trio.lowlevel.checkpoint()
        self._check()
        while self._bytes and self._bytes + len(message) > WINDOW_BYTES and not self._abandoned:
            await self._changed.park()
            self._check()
        if not self._abandoned and not self._hung:
            self._bytes += len(message)
            self._append(message, arrival_s)

    async def receive(self) -> bytes | None:
        await trio.lowlevel.checkpoint()
        self._check()
        while not self._frames or self._frames[0][0] > trio.current_time():
            if self._frames:
                await trio.sleep_until(self._frames[0][0])
            else:
                await self._changed.park()
            self._check()
        frame = self._frames.popleft()[1]
        if isinstance(frame, Unreachable):
            self._failure = str(frame)
            raise frame
        self._bytes -= len(frame or b"")
        self._changed.unpark_all()
        return frame

    def finish(self, arrival_s: float, reset: str | None) -> None:
        self._append(Unreachable(reset) if reset else None, arrival_s)

    def abandon(self) -> None:
        """Nobody reads any more: what is still sent is dropped."""
        self._abandoned = True
        self._frames.clear()
        self._changed.unpark_all()

    def hang(self) -> None:
        self._hung = True
        self._frames.clear()
        self._bytes = 0
        self._changed.unpark_all()

    def fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._changed.unpark_all()

    def _append(self, frame: bytes | Unreachable | None, arrival_s: float) -> None:
        if self._hung:
            return
        self._last_arrival_s = max(self._last_arrival_s, arrival_s)
        self._frames.append((self._last_arrival_s, frame))
        self._changed.unpark_all()

    def _check(self) -> None:
        if self._failure:
            raise Unreachable(self._failure)
