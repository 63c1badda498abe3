"""Channels over kept streams: what the port promises, on both the opening and the serving side.

A new libp2p stream costs a negotiation (5.8 ms), a kept one nothing (1.2 ms a request), so a stream whose channel ended cleanly
waits for the next channel to the same peer and protocol.

A kept stream may be stale: the peer restarted, and the news is still under way. So a channel on a kept stream remembers what it
sent until the first byte of an answer; if the stream breaks before that, and soon, everything is said again on a fresh one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from meshgen.net.guard import check_message, report_handler
from meshgen.net.libp2p.wire import Frame, Wire
from meshgen.net.port import ChannelHandler, PeerId, TooLarge, Unreachable

STALE_WITHIN_S = 2.0
"""A stale stream shows it at once. What breaks later was alive and may have done its work: that is the caller's to judge."""
REPLAY_BYTES = 256 * 1024
DRAIN_BYTES = 16 * 1024 * 1024
DRAIN_WAIT_S = 0.25
"""How long the next channel waits for the last one's END; the stream is given up after that."""
IDLE_PER_PROTOCOL = 32
IDLE_S = 60.0
"""The opening side lets go of an idle stream after this; the serving side waits longer, so that they seldom cross."""
SERVE_IDLE_S = 180.0

FreshWire = Callable[[], Awaitable[Wire]]


class StreamChannel:
    """One channel on a wire; see :class:`meshgen.net.port.Channel`."""

    def __init__(self, peer: PeerId, wire: Wire, fresh: FreshWire | None = None) -> None:
        self._peer = peer
        self.wire = wire
        wire.peer_ended = False
        self._fresh = fresh  # set only while the wire may prove stale
        self._replay: list[tuple[Frame, bytes]] = []
        self._replay_bytes = 0
        self._silent = fresh is not None  # on a kept wire, the other side learns of the channel by its first frame
        self._stale_until_s = trio.current_time() + STALE_WITHIN_S
        self._renewing = trio.Lock()
        self._ended = False

    @property
    def peer(self) -> PeerId:
        return self._peer

    async def send(self, *messages: bytes, last: bool = False) -> None:
        for message in messages:
            check_message(message)
        frames = [(Frame.DATA, bytes(message)) for message in messages] + [(Frame.END, b"")] * last
        self._silent, self._ended = False, last
        await self._send(frames)

    async def _send(self, frames: list[tuple[Frame, bytes]]) -> None:
        wire = self.wire
        if self._fresh is not None:
            self._remember(frames)
        try:
            await wire.send(*frames)
        except Unreachable:
            if not await self._renew(wire):
                raise

    @property
    def ended(self) -> bool:
        """This side has said that nothing more comes."""
        return self._ended

    async def receive(self) -> bytes | None:
        while True:
            wire = self.wire
            if wire.peer_ended:
                await trio.lowlevel.checkpoint()
                return None
            try:
                if self._silent:
                    await wire.send((Frame.OPEN, b""))
                    self._silent = False
                kind, payload = await wire.receive()
            except Unreachable:
                if await self._renew(wire):
                    continue
                raise
            self._forget()
            if kind is Frame.DATA:
                return payload
            if kind is Frame.RESET:
                wire.broken = True
                raise Unreachable(f"{self._peer} gave up on the channel")
            wire.peer_ended = kind is Frame.END

    async def end(self) -> None:
        """Tell the other side that nothing more comes, unless it was told. A peer that is gone needs no telling."""
        try:
            if not self._ended:
                await self.wire.send((Frame.END, b""))
        except Unreachable:
            self.wire.broken = True

    def _remember(self, frames: list[tuple[Frame, bytes]]) -> None:
        self._replay += frames
        self._replay_bytes += sum(len(payload) for _, payload in frames)
        if self._replay_bytes > REPLAY_BYTES:
            self._forget()

    def _forget(self) -> None:
        self._fresh = None
        self._replay.clear()

    async def _renew(self, failed: Wire) -> bool:
        """Put a fresh wire in the place of one that proved stale, and say everything again. False: it was no stale wire."""
        async with self._renewing:
            if self.wire is not failed:
                return True  # the other task, sending or receiving, was here first
            fresh, frames = self._fresh, list(self._replay)
            self._forget()
            if fresh is None or trio.current_time() > self._stale_until_s:
                return False
            await failed.reset()
            self.wire = await fresh()
            self.wire.peer_ended = self._silent = False
            if frames:
                await self.wire.send(*frames)
            return True


class IdleWires:
    """Streams that wait for their next channel, by peer and protocol; the last used is the first taken."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._idle: dict[tuple[PeerId, str], list[tuple[float, Wire]]] = {}

    def __len__(self) -> int:
        return self._count

    async def take(self, peer: PeerId, protocol: str) -> Wire | None:
        """A live wire, at the start of a channel; None if there is none."""
        while waiting := self._idle.get((peer, protocol)):
            since_s, wire = waiting.pop()
            self._count -= 1
            if trio.current_time() - since_s < IDLE_S and wire.is_live() and await _is_at_start(wire):
                return wire
            await wire.close()
        self._idle.pop((peer, protocol), None)
        return None

    async def keep(self, peer: PeerId, protocol: str, wire: Wire) -> None:
        waiting = self._idle.setdefault((peer, protocol), [])
        if wire.is_live() and len(waiting) < IDLE_PER_PROTOCOL and self._count < self._most:
            waiting.append((trio.current_time(), wire))
            self._count += 1
        else:
            await wire.close()

    async def leave_relay(self, peer: PeerId) -> None:
        """Close those of this peer that a relay carries: there is a direct connection now."""
        left: list[Wire] = []
        for (whose, _protocol), waiting in self._idle.items():
            if whose == peer:
                left += [wire for _since_s, wire in waiting if wire.relayed]
                waiting[:] = [entry for entry in waiting if not entry[1].relayed]
        self._count -= len(left)
        for wire in left:  # others come and go meanwhile
            await wire.close()

    async def drop(self, peer: PeerId) -> None:
        """Close all that wait for this peer."""
        keys = [key for key in self._idle if key[0] == peer]
        wires = [wire for key in keys for _since_s, wire in self._idle.pop(key)]
        self._count -= len(wires)
        for wire in wires:  # others come and go meanwhile
            await wire.reset()

    async def sweep(self) -> None:
        """Close what has been idle for too long, or died meanwhile."""
        now = trio.current_time()
        for key, waiting in list(self._idle.items()):
            old = [entry for entry in waiting if now - entry[0] >= IDLE_S or not entry[1].is_live()]
            for entry in old:
                waiting.remove(entry)
                self._count -= 1
            if not waiting and self._idle.get(key) is waiting:  # while a wire was closed, somebody may have come for these
                del self._idle[key]
            for _since_s, wire in old:
                await wire.close()


async def _is_at_start(wire: Wire) -> bool:
    if wire.peer_ended:
        return True
    with trio.move_on_after(DRAIN_WAIT_S):
        try:
            await wire.drain(DRAIN_BYTES)
        except (Unreachable, TooLarge):
            return False
    return wire.peer_ended


async def serve_stream(peer: PeerId, protocol: str, wire: Wire, handler: ChannelHandler) -> None:
    """Serve the channels that come on one stream, one after the other, until the other side closes it."""
    try:
        while await _handle(StreamChannel(peer, wire), protocol, handler):
            await wire.drain(DRAIN_BYTES)
            if not await _next_channel(wire):
                break
    except (Unreachable, TooLarge):
        wire.broken = True
    except BaseException:
        wire.broken = True
        raise
    finally:
        await wire.close()


async def _next_channel(wire: Wire) -> bool:
    with trio.move_on_after(SERVE_IDLE_S):
        return await wire.wait()
    return False


async def _handle(channel: StreamChannel, protocol: str, handler: ChannelHandler) -> bool:
    """Run the handler; False when it failed, which ends the stream but nothing else."""
    try:
        await handler(channel)
    except Exception as error:  # a handler's fault is its channel's alone
        report_handler(protocol, error)
        if channel.ended:
            raise Unreachable("the handler failed after its last message") from error
        await channel.wire.send((Frame.RESET, b""))
        return False
    if not channel.ended:
        await channel.wire.send((Frame.END, b""))
    return True
