"""Messages on one libp2p stream: a 5-byte header (payload length, frame type), then the payload.

A channel is a run of DATA frames each way, closed by END from both sides; then the same stream carries the next channel. RESET
in place of END says that the sender's handler failed; no channel follows it. A new stream opens its first channel by itself; a
later one opens with the opener's first frame, which is an OPEN when it has nothing to say yet.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any

import trio
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import IOException

from meshgen.net.conduct import Fault
from meshgen.net.guard import shielded
from meshgen.net.libp2p.yamux import SLOWEST_BYTES_S, MeshYamux
from meshgen.net.port import MAX_MESSAGE_BYTES, TooLarge, Unreachable

STALLED_S = 20.0
"""A message that has begun is there after so long, and the time that its size takes at SLOWEST_BYTES_S."""
BEGUN_BYTES = 32 * 1024 * 1024
"""Of messages that one connection has begun and not ended, as it announced them: each holds its place in memory."""
_GOODBYE_S = 1.0

_HEADER = struct.Struct("!IB")


class Frame(IntEnum):
    DATA = 0
    END = 1
    RESET = 2
    OPEN = 3


class Wire:
    """Frames on a stream. One task may send while another receives. Any failure leaves it ``broken``: never use it again."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream  # libp2p's NetStream
        self._muxed = stream.muxed_stream
        self._mux: MeshYamux = stream.muxed_conn
        self._buffer = bytearray()
        self._sending = trio.Lock()
        self.broken = False
        self.peer_ended = True  # nothing of an earlier channel is outstanding

    def is_live(self) -> bool:
        """Nothing is known against it: not a promise that the other side is still there."""
        muxed = self._muxed
        return not (
            self.broken or muxed.closed or muxed.recv_closed or muxed.reset_received or self._mux.event_shutting_down.is_set()
        )

    @property
    def relayed(self) -> bool:
        """A third peer carries its bytes."""
        return self._mux.get_connection_type() is ConnectionType.RELAYED

    async def send(self, *frames: tuple[Frame, bytes]) -> None:
        """Raises Unreachable."""
        # one write for all: as few packets, encryptions and system calls as can be
        data = b"".join([part for kind, payload in frames for part in (_HEADER.pack(len(payload), kind), payload)])
        async with self._sending:
            if self.broken:
                raise Unreachable("the stream is broken")
            try:
                await self._mux.put(self._muxed, data)
            except IOException as error:
                self.broken = True
                raise Unreachable("the peer went away or stopped reading") from error
            except BaseException:
                self.broken = True  # cancelled amid a message: what follows would be misread
                raise

    async def receive(self) -> tuple[Frame, bytes]:
        """The next frame. Raises Unreachable, also at the stream's end; TooLarge. Cancelling it loses nothing."""
        await self._fill(_HEADER.size)
        length, kind = _HEADER.unpack_from(self._buffer)
        if length > MAX_MESSAGE_BYTES:
            self.broken = True
            self._mux.blame(Fault.MALFORMED)
            raise TooLarge(f"the peer announced a message of {length} bytes; the limit is {MAX_MESSAGE_BYTES}")
        if kind > Frame.OPEN:
            self.broken = True
            self._mux.blame(Fault.MALFORMED)
            raise Unreachable(f"the peer sent a frame of unknown type {kind}")
        end = _HEADER.size + length
        if len(self._buffer) < end:
            await self._fill_soon(end)
        payload = bytes(memoryview(self._buffer)[_HEADER.size : end])
        self._drop(end)
        return Frame(kind), payload

    async def wait(self) -> bool:
        """Wait for the next channel's first byte; False when the other side closed the stream instead."""
        if self._buffer:
            return True
        try:
            return bool(await self._take())
        except IOException:
            return False

    async def _take(self) -> int:
        """Bytes that came; 0 at the end. Raises IOException."""
        data: bytes = await self._mux.take(self._muxed)
        self._buffer += data
        self._mux.put_by(len(data))
        return len(data)

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._mux.put_by(-count)

    async def _fill_soon(self, count: int) -> None:
        """What has begun goes on: a message half sent holds a stream, and whoever waits for its end."""
        if self._mux.begun_bytes + count > BEGUN_BYTES:
            self.broken = True
            self._mux.blame(Fault.REFUSED)
            raise Unreachable("the peer begins more messages than it ends")
        self._mux.begun_bytes += count
        try:
            with trio.move_on_after(STALLED_S + count / SLOWEST_BYTES_S):
                await self._fill(count)
                return
        finally:
            self._mux.begun_bytes -= count
        self.broken = True
        self._mux.blame(Fault.SLOW)
        raise Unreachable("the peer sends too slowly")

    async def _fill(self, count: int) -> None:
        while len(self._buffer) < count:
            try:
                came = await self._take()
            except IOException as error:
                self.broken = True
                raise Unreachable("the peer reset the channel or went away") from error
            if not came:
                self.broken = True
                raise Unreachable("the peer went away")

    async def drain(self, limit_bytes: int) -> None:
        """Read on to the other side's END, dropping what nobody waits for. Raises Unreachable."""
        while not self.peer_ended:
            kind, payload = await self.receive()
            limit_bytes -= len(payload)
            if kind is Frame.RESET or limit_bytes < 0:
                self.broken = True
                raise Unreachable("the peer's last channel did not end")
            self.peer_ended = kind is Frame.END

    async def close(self) -> None:
        """Close both directions politely, within a second; reset a broken stream."""
        try:
            with shielded(_GOODBYE_S):
                if self.broken:
                    await self._stream.reset()
                else:
                    self.broken = True
                    await self._close_stream()
        finally:
            self._drop(len(self._buffer))

    async def _close_stream(self) -> None:
        try:
            await self._stream.close()
        except IOException:
            await self._stream.reset()

    async def reset(self) -> None:
        self.broken = True
        await self.close()
