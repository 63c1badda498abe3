"""A net that counts: what goes over its channels and topics, and what it asks of the table. The same around either net.

Bytes are those of messages, as the roles hand them over: what encryption, frames and forwarding add is the net's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import trio

from meshgen.metrics import Histogram
from meshgen.net.port import Channel, ChannelHandler, Gossip, GossipValidator, Net, NetError, PeerId

T = TypeVar("T")
_VERDICTS = {True: "accepted", None: "ignored", False: "refused"}


@dataclass(slots=True)
class Flow:
    """Of one protocol, one way."""

    messages: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Traffic:
    """Counts since the start. Protocols and topics by their kind: job, offer, presence, ..."""

    flows: defaultdict[tuple[str, str], Flow] = field(default_factory=lambda: defaultdict(Flow))
    """(protocol, "in" or "out")."""
    channels: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Opened: (protocol, "in" or "out")."""
    open: Counter[PeerId] = field(default_factory=Counter)
    """Channels that stand now, both ways, by peer: who is in the midst of something with this node."""
    unreachable: Counter[str] = field(default_factory=Counter)
    """Channels that could not be opened, by protocol."""
    gossip: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(topic, what became of it: accepted, ignored, refused, published)."""
    gossip_bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(topic, "in" or "out")."""
    heard_s: dict[str, float] = field(default_factory=dict)
    """When something valid was heard last, by topic and trio's clock."""
    boxes: dict[str, Any] = field(default_factory=dict)
    """Of each topic that is heard: a reader that may have lost some."""
    late: Counter[str] = field(default_factory=Counter)
    """Lost to slow readers of topics that are heard no more."""
    table: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(question to the DHT, how it ended: done, nothing, failed)."""
    table_s: dict[str, Histogram] = field(default_factory=dict)

    @contextmanager
    def standing(self, peer: PeerId) -> Iterator[None]:
        self.open[peer] += 1
        try:
            yield
        finally:
            self.open[peer] -= 1
            if not self.open[peer]:
                del self.open[peer]

    def dropped(self) -> Counter[str]:
        """Gossip that came faster than it was read, by topic."""
        now = Counter({topic: getattr(box, "dropped", 0) for topic, box in self.boxes.items()})
        return self.late + now


def metered(net: Net, traffic: Traffic) -> Net:
    """That net, counted. What it does beside is as it was."""
    return cast(Net, _Metered(net, traffic))


class _Metered:
    def __init__(self, net: Net, traffic: Traffic) -> None:
        self._net = net
        self._traffic = traffic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)

    # -- channels
    def serve(self, protocol: str, handler: ChannelHandler) -> None:
        kind = kind_of(protocol)

        async def counted(channel: Channel) -> None:
            self._traffic.channels[kind, "in"] += 1
            with self._traffic.standing(channel.peer):
                await handler(_MeteredChannel(channel, kind, self._traffic))

        self._net.serve(protocol, counted)

    @asynccontextmanager
    async def open(self, peer: PeerId, protocol: str) -> AsyncIterator[Channel]:
        kind, opened = kind_of(protocol), False
        try:
            async with self._net.open(peer, protocol) as channel:
                self._traffic.channels[kind, "out"] += 1
                opened = True
                with self._traffic.standing(peer):
                    yield _MeteredChannel(channel, kind, self._traffic)
        except NetError:
            if not opened:
                self._traffic.unreachable[kind] += 1
            raise

    # -- topics
    def subscribe(self, topic: str, validator: GossipValidator) -> AbstractAsyncContextManager[AsyncIterator[Gossip]]:
        kind, traffic = kind_of_topic(topic), self._traffic

        def counted(sender: PeerId, data: bytes) -> bool | None:
            valid = validator(sender, data)
            traffic.gossip[kind, _VERDICTS[valid]] += 1
            traffic.gossip_bytes[kind, "in"] += len(data)
            if valid:
                traffic.heard_s[kind] = trio.current_time()
            return valid

        return self._heard(topic, kind, counted)

    @asynccontextmanager
    async def _heard(self, topic: str, kind: str, validator: GossipValidator) -> AsyncIterator[AsyncIterator[Gossip]]:
        async with self._net.subscribe(topic, validator) as box:
            self._traffic.boxes[kind] = box
            try:
                yield box
            finally:
                self._traffic.late[kind] += getattr(self._traffic.boxes.pop(kind, None), "dropped", 0)

    async def publish(self, topic: str, data: bytes) -> None:
        kind = kind_of_topic(topic)
        self._traffic.gossip[kind, "published"] += 1
        self._traffic.gossip_bytes[kind, "out"] += len(data)
        await self._net.publish(topic, data)

    # -- the directory table
    async def provide(self, key: str) -> None:
        await self._asked("provide", self._net.provide(key))

    async def find_providers(self, key: str, limit: int = 20) -> list[PeerId]:
        return await self._asked("find_providers", self._net.find_providers(key, limit))

    async def put_value(self, key: str, value: bytes) -> None:
        await self._asked("put_value", self._net.put_value(key, value))

    async def get_value(self, key: str) -> bytes | None:
        return await self._asked("get_value", self._net.get_value(key))

    async def _asked(self, question: str, answer: Awaitable[T]) -> T:
        begun_s, ended = trio.current_time(), "failed"
        try:
            found = await answer
            ended = "nothing" if found in (None, []) and question in ("find_providers", "get_value") else "done"
        finally:
            self._traffic.table[question, ended] += 1
            self._traffic.table_s.setdefault(question, Histogram()).observe(trio.current_time() - begun_s)
        return found


class _MeteredChannel:
    __slots__ = ("_channel", "_in", "_out")

    def __init__(self, channel: Channel, kind: str, traffic: Traffic) -> None:
        self._channel = channel
        self._in, self._out = traffic.flows[kind, "in"], traffic.flows[kind, "out"]

    @property
    def peer(self) -> PeerId:
        return self._channel.peer

    async def send(self, *messages: bytes, last: bool = False) -> None:
        self._out.messages += len(messages)
        self._out.bytes += sum(map(len, messages))
        await self._channel.send(*messages, last=last)

    async def receive(self) -> bytes | None:
        message = await self._channel.receive()
        if message is not None:
            self._in.messages += 1
            self._in.bytes += len(message)
        return message


def kind_of(protocol: str) -> str:
    """/meshgen/job/1 -> job"""
    return "/".join(protocol.removeprefix("/meshgen/").split("/")[:-1]) or protocol


def kind_of_topic(topic: str) -> str:
    """/meshgen/<mesh>/offer/sdxl -> offer/sdxl"""
    return "/".join(topic.split("/")[3:]) or topic
