"""Messages on a libp2p stream, each after its length as a varint: read in large pieces, within a limit.

py-libp2p reads the length byte by byte, each through four locks.
"""

from __future__ import annotations

from typing import Any

from libp2p.io.exceptions import IOException

from meshgen.net.port import TooLarge

MAX_LENGTH_BYTES = 5


class Prefixed:
    """Reads one stream. Raises TooLarge for a message over the limit, or a length that is none."""

    def __init__(self, stream: Any, most_bytes: int) -> None:
        self._muxed = stream.muxed_stream
        self._mux = stream.muxed_conn
        self._most_bytes = most_bytes
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """The next message; None at the stream's end, also amid a message. Raises TooLarge, IOException."""
        try:
            message = await self._next()
        except (TooLarge, IOException):
            self._drop(len(self._buffer))
            raise
        if message is None:
            self._drop(len(self._buffer))
        return message

    async def _next(self) -> bytes | None:
        while True:
            start, length = self._length()
            if start and len(self._buffer) >= start + length:
                message = bytes(memoryview(self._buffer)[start : start + length])
                self._drop(start + length)
                return message
            data = await self._mux.take(self._muxed)
            if not data:
                return None
            self._buffer += data
            self._mux.put_by(len(data))

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._mux.put_by(-count)

    def _length(self) -> tuple[int, int]:
        """(bytes of the length, the length); (0, 0) while it is not all there."""
        length = 0
        for index, byte in enumerate(self._buffer[:MAX_LENGTH_BYTES]):
            length |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if length > self._most_bytes:
                    raise TooLarge(f"a message of {length} bytes was announced; the limit is {self._most_bytes}")
                return index + 1, length
        if len(self._buffer) >= MAX_LENGTH_BYTES:
            raise TooLarge("a message's length is no number")
        return 0, 0
