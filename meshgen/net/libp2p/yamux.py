"""The stream multiplexer, with four cures for py-libp2p 0.8's own; what comes in is taken in by its base, :mod:`frames`.

1. A frame is written whole or not at all. A task that is cancelled inside of a socket write leaves half an encrypted frame behind
   and with it a *connection* that nobody can read any more, though only one request had been given up.
2. A connection whose peer stopped answering is closed. As it comes, a peer that was suspended or unplugged stays "connected".
3. Small window updates are saved up. As it comes, every read of a few bytes sends a frame of its own.
4. Reading can be cancelled without losing bytes, and writing waits for a slow reader: :meth:`MeshYamux.take` and ``put``.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import trio
from libp2p.io.exceptions import IOException
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    PROTOCOL_ID,
    TYPE_DATA,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
    YamuxStream,
)

from meshgen.net.guard import shielded
from meshgen.net.libp2p.frames import GuardedYamux, Watch

WRITE_TIMEOUT_S = 20.0
"""A frame (at most 64 KiB) that the socket doesn't take in this time: the peer is gone."""
PING_INTERVAL_S = 15.0
PONG_TIMEOUT_S = 20.0
CREDIT_BATCH_BYTES = 64 * 1024
"""Window updates wait until they are worth a frame: a quarter of the smallest window."""

PIECE_BYTES = 64 * 1024 - 12
"""The payload of one frame. A large message can be cancelled between its pieces."""
SLOW_READER_S = 30.0
SLOWEST_BYTES_S = 8 * 1024
"""What is sent is taken in SLOW_READER_S, and the time that its size takes at this rate: a window that is opened byte by byte is
none."""
_WINDOW_POLL_S = 0.01
TAKE_BYTES = 256 * 1024
"""In one piece: what waits for its turn waits in the window, where the other side feels it."""

_HEADER = struct.Struct(YAMUX_HEADER_FORMAT)


class MeshMuxer(MuxerMultistream):  # type: ignore[misc]
    """Makes :class:`MeshYamux` connections. py-libp2p makes its own Yamux whatever class ``muxer_opt`` names."""

    def __init__(self, negotiate_timeout_s: int) -> None:
        super().__init__({PROTOCOL_ID: MeshYamux}, negotiate_timeout_s)
        self.watch = Watch()

    async def new_conn(self, conn: Any, peer_id: Any) -> Any:
        protocol, muxer = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        made = muxer(conn, peer_id, conn.is_initiator)
        made.watched_by(self.watch)
        return self._annotate_connection(made, conn, protocol)


class MeshYamux(GuardedYamux):
    """One multiplexed connection."""

    def __init__(self, conn: Any, peer_id: Any, is_initiator: bool) -> None:
        super().__init__(conn, peer_id, is_initiator)
        self._credit: dict[int, int] = {}  # stream id -> window updates saved up, in bytes
        self._taken: dict[int, int] = {}  # stream id -> bytes read by take() and not yet credited

    async def _write_frame(self, data: bytes) -> None:
        frame = self._saved_up(data)
        if frame is None:
            return
        async with self._write_lock:  # waiting for one's turn may be cancelled, the write itself may not
            with shielded(WRITE_TIMEOUT_S) as patience:
                await self.secured_conn.write(frame)
        if patience.cancelled_caught:
            await self.secured_conn.close()
            raise IOException("the peer takes no more data")

    def _saved_up(self, frame: bytes) -> bytes | None:
        """The frame to write: None while a window update is small, the sum of the saved ones when it is not."""
        version, kind, flags, stream_id, length = _HEADER.unpack_from(frame)
        if flags & (FLAG_RST | FLAG_FIN):
            self._credit.pop(stream_id, None)
            self._taken.pop(stream_id, None)
        if kind != TYPE_WINDOW_UPDATE or flags:
            return frame
        credit = self._credit.get(stream_id, 0) + length
        if credit < CREDIT_BATCH_BYTES:
            self._credit[stream_id] = credit
            return None
        self._credit.pop(stream_id, None)
        return _HEADER.pack(version, kind, flags, stream_id, credit)

    async def _measure_rtt_loop(self) -> None:
        """Ping; hang up on a peer that doesn't answer. The base class only measures."""
        while not self.event_shutting_down.is_set():
            self._ping_id += 1
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            with trio.move_on_after(PONG_TIMEOUT_S):
                try:
                    await self._write_frame(_HEADER.pack(0, TYPE_PING, FLAG_SYN, 0, self._ping_id))
                    await self._ping_event.wait()
                except IOException:
                    pass
            if not self._ping_event.is_set():
                self.reading.cancel()  # it may wait for room in memory, and would not notice; it cleans up
                return
            with trio.move_on_after(PING_INTERVAL_S):
                await self.event_shutting_down.wait()

    async def take(self, stream: YamuxStream) -> bytes:
        """The bytes that wait on a stream, at least one, at most TAKE_BYTES; ``b""`` at its end. Raises IOException when it was
        reset.

        No checkpoint lies between taking bytes out of the buffer and returning them that could be cancelled, so a reader that
        gives up with ``trio.move_on_after`` finds its bytes the next time.
        """
        while True:
            buffer = self.stream_buffers.get(stream.stream_id)
            if buffer:
                data = bytes(memoryview(buffer)[:TAKE_BYTES])
                del buffer[: len(data)]
                self.account.update()
                await self._give_credit(stream, len(data))
                return data
            if stream.reset_received:
                raise IOException("the stream was reset")
            event = self.stream_events.get(stream.stream_id)
            if buffer is None or event is None or stream.recv_closed:
                return b""
            await event.wait()
            if not self.stream_buffers.get(stream.stream_id) and stream.stream_id in self.stream_events:
                self.stream_events[stream.stream_id] = trio.Event()

    async def _give_credit(self, stream: YamuxStream, count: int) -> None:
        """Let the other side send as much again, once it is worth a frame."""
        self._taken[stream.stream_id] = taken = self._taken.get(stream.stream_id, 0) + count
        if taken >= CREDIT_BATCH_BYTES:
            del self._taken[stream.stream_id]
            with shielded(WRITE_TIMEOUT_S), suppress(IOException):  # if the connection just broke, what had arrived is still good
                await stream._auto_tune_and_send_window_update(bytes_read=taken)
        if stream.closed:
            self._taken.pop(stream.stream_id, None)
            with shielded(WRITE_TIMEOUT_S):
                await self._finalize_stream(stream, fully_closed=True)

    async def put(self, stream: YamuxStream, data: bytes) -> None:
        """Write all of it. Raises IOException when the stream is closed or its reader slower than SLOW_READER_S.

        The base takes four locks for each piece and gives up on a full window after 5 s; a node at work on its GPU is slower.
        """
        start, until_s = 0, trio.current_time() + SLOW_READER_S + len(data) / SLOWEST_BYTES_S
        while start < len(data):
            await self._window_opens(stream, until_s)
            if stream.send_closed:
                raise IOException("the stream is closed")
            piece = data[start : start + min(stream.send_window, PIECE_BYTES)]
            stream.send_window -= len(piece)
            start += len(piece)
            await self._write_frame(_HEADER.pack(0, TYPE_DATA, 0, stream.stream_id, len(piece)) + piece)

    async def _window_opens(self, stream: YamuxStream, until_s: float) -> None:
        """Wait for the reader. By polling, as the base does: there is no event for it."""
        while stream.send_window <= 0 and not stream.send_closed:
            if trio.current_time() > until_s:
                raise IOException("the peer does not read")
            await trio.sleep(_WINDOW_POLL_S)
