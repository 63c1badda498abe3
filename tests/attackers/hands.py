"""What attackers work with: raw sockets from made-up addresses, connections spoken by hand, gossip of one's own making."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import trio
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_uvarint
from multiaddr import Multiaddr

from meshgen.identity import Identity
from meshgen.net.libp2p import Libp2pNet, open_libp2p
from meshgen.net.port import NetError, PeerId
from meshgen.peers.directory import table_rules
from meshgen.testing import outsiders
from meshgen.testing.outsiders import FalseWorker

LOCAL = ["/ip4/127.0.0.1/tcp/0"]
GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)

_source: ContextVar[str | None] = ContextVar("_source", default=None)
_dial: Callable[..., Any] = trio.open_tcp_stream
_seqno = count(int.from_bytes(os.urandom(4)) << 24)


async def _dial_from(host: Any, port: int, **given: Any) -> trio.SocketStream:
    stream: trio.SocketStream = await _dial(host, port, **({"local_address": _source.get()} | given))
    return stream


@contextmanager
def coming_from(address: str | None) -> Iterator[None]:
    """What is dialled in here comes from this address; all of 127.0.0.0/8 is this machine, and only 127.0.0.1 says so."""
    trio.open_tcp_stream = _dial_from
    token = _source.set(address)
    try:
        yield
    finally:
        _source.reset(token)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def by_the_wall_clock() -> Iterator[None]:
    """Outsiders live in virtual time, unless they live in here."""
    names = vars(outsiders)
    virtual, names["now_ms"] = names["now_ms"], now_ms
    try:
        yield
    finally:
        names["now_ms"] = virtual


@dataclass
class Field:
    """Where an attack takes place, and what its author saw of it."""

    address: str
    requester: str = ""
    addresses: int = 10
    """So many addresses the attacker has."""
    plenty: int = 10_000
    """So many messages it makes before it begins."""
    tries: int = 0
    cut_off_s: float | None = None
    workers: list[FalseWorker] = field(default_factory=list)
    """Those that it has sent, if it is theirs to attack."""
    started_s: float = field(default_factory=trio.current_time)
    _next: int = 0

    @property
    def peer(self) -> PeerId:
        return PeerId(self.address.rpartition("/")[2])

    @property
    def port(self) -> int:
        return int(Multiaddr(self.address).value_for_protocol("tcp"))

    def place(self) -> str:
        """The attacker's next address."""
        self._next += 1
        return f"127.0.66.{1 + self._next % self.addresses}"

    def cut_off(self) -> None:
        """The victim hung up, or let nobody in."""
        if self.cut_off_s is None:
            self.cut_off_s = trio.current_time() - self.started_s

    async def raw(self) -> trio.SocketStream:
        self.tries += 1
        with coming_from(self.place()):
            return await _dial_from("127.0.0.1", self.port)


def stranger() -> Identity:
    return Identity.from_seed(secrets.token_bytes(32))


@asynccontextmanager
async def hand(field: Field, who: Identity | None = None) -> AsyncIterator[Libp2pNet]:
    """A net of a fresh key, connected to the victim. Raises NetError when it isn't let in."""
    field.tries += 1
    with coming_from(field.place()):
        async with open_libp2p(who or stranger(), LOCAL, table=table_rules(now_ms)) as net:
            try:
                await net.connect(field.address)
            except NetError:
                field.cut_off()
                raise
            yield net


def is_connected(net: Libp2pNet, field: Field) -> bool:
    return any(link.peer == field.peer for link in net.links())


async def until_hung_up(net: Libp2pNet, field: Field) -> None:
    while is_connected(net, field):  # noqa: ASYNC110 - what libp2p does has no event
        await trio.sleep(0.2)
    field.cut_off()


def connection(net: Libp2pNet, field: Field) -> Any:
    """The multiplexed connection to the victim. Raises SwarmException when there is none."""
    target = ID.from_base58(field.peer)
    for each in net._swarm.get_connections(target):
        if not each.is_closed:
            return each.muxed_conn
    raise SwarmException("hung up")


async def write(net: Libp2pNet, field: Field, frames: bytes) -> None:
    """Frames as they are, between those of the connection itself. Raises SwarmException when there is none."""
    muxed = connection(net, field)
    async with muxed._write_lock:
        await muxed.secured_conn.write(frames)


async def stream(net: Libp2pNet, field: Field, protocol: str) -> Any:
    return await net._host.new_stream(ID.from_base58(field.peer), [protocol])


def gossip(who: Identity, topic: str, data: bytes, signed: bool = True) -> Any:
    """One message, as pubsub wants it."""
    origin = bytes.fromhex("002408011220") + who.public_key
    message = rpc_pb2.Message(data=data, topicIDs=[topic], from_id=origin, seqno=next(_seqno).to_bytes(8, "big"))
    message.signature = who.sign(b"libp2p-pubsub:" + message.SerializeToString()) if signed else os.urandom(64)
    return message


def rpc(*messages: Any) -> bytes:
    body = rpc_pb2.RPC(publish=messages).SerializeToString()
    return bytes(encode_uvarint(len(body)) + body)
