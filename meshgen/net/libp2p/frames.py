"""What comes in on a multiplexed connection, frame by frame.

py-libp2p's own reader keeps what a peer sends beyond its window, opens as many streams as the peer likes, answers pings as fast
as they come, passes over frames of no known type, and lets one connection that sends small frames keep the event loop to itself.
Here all of that is bounded. Too much of what is allowed is read more slowly; what no implementation sends ends the connection.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import trio
from libp2p.io.exceptions import IncompleteReadError, IOException
from libp2p.io.utils import read_exactly
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_ACK,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    TYPE_DATA,
    TYPE_GO_AWAY,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

from meshgen.net.conduct import Bucket, Fault
from meshgen.net.guard import log, where
from meshgen.net.libp2p.budget import Budget, Standing
from meshgen.net.port import PeerId

_HEADER = struct.Struct(YAMUX_HEADER_FORMAT)

STREAMS = 160
"""That a peer may have open here at a time, libp2p's own among them."""
SYNS_S, SYNS_BURST = 50.0, 400.0
"""Streams opened: each costs a negotiation."""
FRAMES_S, FRAMES_BURST = 2000.0, 20000.0
PINGS_S, PINGS_BURST = 5.0, 100.0
FRAME_BYTES = 1024 * 1024
"""In one piece, and held until it is whole; implementations send 64 KiB."""
BYTES_S, BYTES_BURST = 8 * 1024 * 1024.0, 64 * 1024 * 1024.0
"""Of a stranger's; a picture has one or two MiB. Friends are read as fast as they write."""
UNREAD_BYTES = 20 * 1024 * 1024
"""That wait in all streams of a connection, at most."""
PAUSE_S = 0.25
"""Who is ahead of its pace by so much is read again when it is made up for..."""
PAUSE_POINTS = 8.0
"""...and has so much against it a second of that: who goes on for twenty seconds is cut off. Not for bytes: those may be work."""
YIELD_FRAMES = 64
"""After so many frames that had arrived already, others get their turn."""


class Violation(Exception):
    """What the peer sent breaks the multiplexer's rules."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told of faults, who knows friends from strangers, and what there is room for."""

    blame: Callable[[PeerId, float], None] = lambda _peer, _points: None
    is_friend: Callable[[PeerId], bool] = lambda _peer: False
    budget: Budget = field(default_factory=Budget)


class GuardedYamux(Yamux):  # type: ignore[misc]
    """The receiving half of a connection."""

    def __init__(self, conn: Any, peer_id: Any, is_initiator: bool) -> None:
        super().__init__(conn, peer_id, is_initiator)
        self.heard_s = trio.current_time()
        self._neighbour = PeerId(str(peer_id))
        self._syns = Bucket(SYNS_S, SYNS_BURST, monotonic)
        self._frames = Bucket(FRAMES_S, FRAMES_BURST, monotonic)
        self._pings = Bucket(PINGS_S, PINGS_BURST, monotonic)
        self._bytes = Bucket(BYTES_S, BYTES_BURST, monotonic)
        self._since_yield = 0
        self._rtt = 0.0
        self.begun_bytes = 0
        """Of messages on its streams that have begun and are not whole yet, see :mod:`wire`."""
        self._aside_bytes = 0
        self._arriving_bytes = 0
        self.reading = trio.CancelScope()
        """Cancelled, the connection is given up."""
        self.watched_by(Watch())

    def watched_by(self, watch: Watch) -> None:
        """Before the first frame comes."""
        self.watch = watch
        self.account = watch.budget.open(self._held_bytes, self._standing, self._let_go)

    def put_by(self, count: int) -> None:
        """What was read off a stream, and waits where it is whole; less than 0: no longer."""
        self._aside_bytes += count
        self.account.update()

    async def handle_incoming(self) -> None:
        """Until the connection ends, for whatever reason."""
        try:
            with self.reading:
                await self._read_on()
        except Violation as fault:
            log.debug("a connection is closed: %s", fault)
            self.watch.blame(self._neighbour, Fault.MALFORMED)
        except trio.TooSlowError:
            self.watch.blame(self._neighbour, Fault.SLOW)
        except (IOException, IncompleteReadError, trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the peer went away
        except Exception as error:  # noqa: BLE001 - what the layers below raise for bytes that don't decrypt is their secret
            log.debug("a connection broke: %s", where(error))
            self.watch.blame(self._neighbour, Fault.MALFORMED)
        finally:
            self.account.close()
            await self._cleanup_on_error()

    async def _read_on(self) -> None:
        while not self.event_shutting_down.is_set():
            version, kind, flags, stream_id, length = _HEADER.unpack(await read_exactly(self.secured_conn, _HEADER.size))
            self.heard_s = trio.current_time()
            if version != 0:
                raise Violation("a frame of another version")
            if not await self._take_in(kind, flags, stream_id, length):
                break
            await self._pace(length if kind == TYPE_DATA else 0)
            await self.account.room()

    def _held_bytes(self) -> int:
        return self._arriving_bytes + self._aside_bytes + sum(map(len, self.stream_buffers.values()))

    def _standing(self) -> Standing:
        if self.watch.is_friend(self._neighbour):
            return Standing.FRIEND
        return Standing.DIALLED if self.is_initiator_value else Standing.STRANGER

    def _let_go(self) -> None:
        log.info("a connection is let go: it holds more than any other, and this node's memory for what waits is full")
        self.watch.blame(self._neighbour, Fault.REFUSED)
        self.reading.cancel()

    async def _pace(self, size: int) -> None:
        bytes_s = self._bytes.owe(size) if size and not self.watch.is_friend(self._neighbour) else 0.0
        frames_s = self._frames.owe()
        self._since_yield += 1
        if max(bytes_s, frames_s) > PAUSE_S:
            await self._pause(max(bytes_s, frames_s), blame=frames_s > bytes_s)
        elif self._since_yield >= YIELD_FRAMES:
            self._since_yield = 0
            await trio.lowlevel.checkpoint()

    def blame(self, points: float) -> None:
        """Put a fault down to whoever is at the other end."""
        self.watch.blame(self._neighbour, points)

    async def _pause(self, seconds: float, *, blame: bool) -> None:
        if blame:
            self.watch.blame(self._neighbour, PAUSE_POINTS * seconds)
        await trio.sleep(seconds)

    async def _take_in(self, kind: int, flags: int, stream_id: int, length: int) -> bool:
        """One frame; False when it says goodbye. Raises Violation."""
        if kind in (TYPE_DATA, TYPE_WINDOW_UPDATE):
            await self._stream_frame(kind, flags, stream_id, length)
        elif kind == TYPE_PING:
            await self._ping(flags, length)
        elif kind != TYPE_GO_AWAY:
            raise Violation("a frame of unknown type")
        return bool(kind != TYPE_GO_AWAY)

    async def _ping(self, flags: int, value: int) -> None:
        if flags & FLAG_SYN:
            wait_s = self._pings.owe()
            if wait_s > PAUSE_S:
                await self._pause(wait_s, blame=True)
            await self._write_frame(_HEADER.pack(0, TYPE_PING, FLAG_ACK, 0, value))
        elif flags & FLAG_ACK and value == self._ping_id:  # another value answers nothing that was asked
            rtt = trio.current_time() - self._ping_sent_time
            self._rtt = (self._rtt + rtt) / 2 if self._rtt else rtt
            self._ping_event.set()

    async def _stream_frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        if not stream_id:
            raise Violation("a stream without a number")
        if kind == TYPE_DATA and length > FRAME_BYTES:
            raise Violation("a frame larger than any that is sent")
        data = await self._body(length) if kind == TYPE_DATA and length else b""
        stream = self.streams.get(stream_id)
        opened = stream is None and flags & FLAG_SYN
        if opened:
            stream = await self._open_theirs(stream_id)
        elif stream is not None and flags & FLAG_SYN:
            await self._refuse(stream_id)
            return
        if stream is None:
            return  # refused, or closed here while this was under way
        if kind == TYPE_WINDOW_UPDATE:
            stream.send_window += length
        elif data:
            self._put_aside(stream, data)
        self._close_by(stream, flags)
        if opened:
            await self._accept(stream)

    async def _body(self, length: int) -> bytes:
        self._arriving_bytes = length
        self.account.update()
        try:
            data: bytes = await self._read_data_body(length)
            return data
        finally:
            self._arriving_bytes = 0

    async def _open_theirs(self, stream_id: int) -> YamuxStream | None:
        """A stream that the peer opens; None if it has too many."""
        if (stream_id % 2 == 1) == self.is_initiator_value:
            raise Violation("a stream with a number of this side's")
        wait_s = self._syns.owe()
        if wait_s > PAUSE_S:
            await self._pause(wait_s, blame=True)
        if sum(not each.is_initiator for each in self.streams.values()) >= STREAMS:
            self.watch.blame(self._neighbour, Fault.REFUSED)
            await self._refuse(stream_id)
            return None
        stream = YamuxStream(stream_id, self, False)
        self.streams[stream_id] = stream
        self.stream_buffers[stream_id] = bytearray()
        self.stream_events[stream_id] = trio.Event()
        return stream

    async def _accept(self, stream: YamuxStream) -> None:
        if not stream.reset_received:
            await self._write_frame(_HEADER.pack(0, TYPE_WINDOW_UPDATE, FLAG_ACK, stream.stream_id, 0))
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):  # this side is closing
            await self.new_stream_send_channel.send(stream)

    async def _refuse(self, stream_id: int) -> None:
        await self._write_frame(_HEADER.pack(0, TYPE_WINDOW_UPDATE, FLAG_RST, stream_id, 0))

    def _put_aside(self, stream: YamuxStream, data: bytes) -> None:
        """Keep what came until it is read. Raises Violation for more than this side has made room for."""
        buffer = self.stream_buffers.get(stream.stream_id)
        if buffer is None or stream.recv_closed:
            return
        stream.recv_window -= len(data)
        if stream.recv_window < -DEFAULT_WINDOW_SIZE:  # as much slack as updates may be under way
            raise Violation("more than the window allows")
        buffer.extend(data)
        if len(buffer) > DEFAULT_WINDOW_SIZE and sum(map(len, self.stream_buffers.values())) > UNREAD_BYTES:
            raise Violation("more than anybody reads")
        self._wake(stream)

    def _close_by(self, stream: YamuxStream, flags: int) -> None:
        if flags & FLAG_RST:
            stream.closed = stream.reset_received = True
            self._wake(stream)
        elif flags & FLAG_FIN:
            stream.recv_closed = True
            stream.closed = stream.closed or stream.send_closed
            self._wake(stream)
        if stream.closed:
            self._finalize_stream_locked(stream, fully_closed=True)

    async def _finalize_stream(self, stream: YamuxStream, *, fully_closed: bool) -> None:
        """What had come on a stream that this side gave up is nobody's: the base keeps it for a minute and more."""
        if stream.reset_received and stream.recv_closed and stream.send_closed:
            self.stream_buffers.get(stream.stream_id, bytearray()).clear()
            self.account.update()
        await super()._finalize_stream(stream, fully_closed=fully_closed)

    def _wake(self, stream: YamuxStream) -> None:
        event = self.stream_events.get(stream.stream_id)
        if event is not None:
            event.set()
