"""Circuits as bytes: the messages of circuit relay v2, and a stream that becomes a connection's ground.

py-libp2p has a relay of its own. It sends half-closed circuits into resets, buffers without bound and keeps books that leak, so
only its protobufs are used here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import trio
from google.protobuf.message import DecodeError, Message
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, Reservation, Status, StopMessage

from meshgen.net.guard import shielded
from meshgen.net.libp2p.yamux import MeshYamux

M = TypeVar("M", bound=Message)

__all__ = ["HOP", "STOP", "BadMessage", "HopMessage", "Pipe", "Questions", "Reservation", "Status", "StopMessage"]

HOP = "/libp2p/circuit/relay/0.2.0/hop"
STOP = "/libp2p/circuit/relay/0.2.0/stop"
MAX_MESSAGE_BYTES = 4096
ANSWER_S = 10.0
"""How long either side of a relay may take for its next message."""
_GOODBYE_S = 1.0


QUESTIONS = 16
"""Streams of one peer, for one protocol, that have not said what they want yet. One more is reset."""


class Questions:
    """Hears what streams are there for, from so many of a peer at a time."""

    def __init__(self) -> None:
        self._open: Counter[Any] = Counter()

    async def hear(self, pipe: Pipe, kind: type[M]) -> M:
        """Raises IOException, BadMessage as :meth:`Pipe.hear`."""
        if self._open[pipe.peer] >= QUESTIONS:
            raise IOException("this peer opens streams and says nothing")
        self._open[pipe.peer] += 1
        try:
            return await pipe.hear(kind)
        finally:
            self._open[pipe.peer] -= 1
            if not self._open[pipe.peer]:
                del self._open[pipe.peer]


class BadMessage(IOException):  # type: ignore[misc]
    """The other side sent what is no message of the protocol."""


class Pipe(ReadWriteCloser):  # type: ignore[misc]
    """One stream: first messages with their length before them, then whatever two others make of it.

    It is what a raw connection of libp2p wants below it. Writing waits for the reader; reading holds one window at most.
    """

    def __init__(self, stream: Any, moved: Callable[[int], None] | None = None) -> None:
        self._stream = stream  # libp2p's NetStream
        self._muxed = stream.muxed_stream
        self._mux: MeshYamux = stream.muxed_conn
        self._buffer = bytearray()
        self._moved = moved or (lambda _count: None)

    @property
    def peer(self) -> Any:
        return self._mux.peer_id

    async def take(self) -> bytes:
        """What has arrived, at least one byte; ``b""`` at the end. Raises IOException when it was reset."""
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        return await self._mux.take(self._muxed)

    async def read(self, n: int | None = None) -> bytes:
        """At most ``n`` bytes, at least one; ``b""`` at the end."""
        if not self._buffer:
            self._buffer += await self._mux.take(self._muxed)
            self._moved(len(self._buffer))
        data = bytes(memoryview(self._buffer)[:n])
        del self._buffer[: len(data)]
        return data

    async def write(self, data: bytes) -> None:
        await self._mux.put(self._muxed, data)
        self._moved(len(data))

    async def end(self) -> None:
        """Say that nothing more comes from this side."""
        await self._muxed.close()

    async def close(self) -> None:
        """Done with it, in both directions: nobody reads on, so what still comes must not pile up."""
        await self.reset()

    async def reset(self) -> None:
        with shielded(_GOODBYE_S):
            await self._stream.reset()

    def get_remote_address(self) -> tuple[str, int] | None:
        return None  # the relay's would be taken for the peer's

    # -- messages
    async def say(self, message: Message) -> None:
        """Raises IOException."""
        data = message.SerializeToString()
        with trio.move_on_after(ANSWER_S) as patience:
            await self._mux.put(self._muxed, _varint(len(data)) + data)
        if patience.cancelled_caught:
            raise IOException("the peer takes no message")

    async def hear(self, kind: type[M]) -> M:
        """The next message. Raises IOException, also when none comes in time; BadMessage."""
        message = kind()
        with trio.move_on_after(ANSWER_S) as patience:
            size = await self._size()
            try:
                message.ParseFromString(await self._exactly(size))
            except DecodeError as error:
                raise BadMessage("no message of circuit relay v2") from error
        if patience.cancelled_caught:
            raise IOException("the peer said nothing in time")
        return message

    async def _size(self) -> int:
        size = shift = 0
        while True:
            byte = (await self._exactly(1))[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 14:
                raise BadMessage("a length that never ends")
        if size > MAX_MESSAGE_BYTES:
            raise BadMessage(f"a message of {size} bytes; the limit is {MAX_MESSAGE_BYTES}")
        return size

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self._mux.take(self._muxed)
            if not data:
                raise IOException("the stream ended inside a message")
            self._buffer += data
        data = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))
