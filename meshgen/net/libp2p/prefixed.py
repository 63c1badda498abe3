"""Messages on a libp2p stream, each after its length as a varint: read in large pieces, within a limit.

py-libp2p reads the length byte by byte, each through four locks.
"""

from __future__ import annotations

from typing import Any

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
        while True:
            start, length = self._length()
            if start and len(self._buffer) >= start + length:
                message = bytes(memoryview(self._buffer)[start : start + length])
                del self._buffer[: start + length]
                return message
            data = await self._mux.take(self._muxed)
            if not data:
                return None
            self._buffer += data

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
