"""The attacks, each an async function that goes on until it is cancelled. Attackers come back when they are cut off."""

from __future__ import annotations

import os
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count

import trio
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import YAMUX_HEADER_FORMAT

from meshgen.identity import Identity
from meshgen.net.libp2p import Libp2pNet
from meshgen.net.port import NetError
from meshgen.peers.market import offer_topic
from meshgen.protocols.credit import Frontier, Head
from meshgen.protocols.offer import OFFER_PROTOCOL
from meshgen.testing.mesh import NET
from meshgen.testing.outsiders import MODEL, Outsider, presence_topic
from tests.attackers.hands import GONE, Field, gossip, hand, rpc, stranger, stream, until_hung_up, write

Attack = Callable[[Field], Awaitable[None]]
ATTACKS: dict[str, tuple[str, Attack]] = {}
"""By name: whom it goes for, and what it does."""

FAILED = (NetError, SwarmException, StreamFailure, StreamError, MuxedStreamError, IOException, *GONE)
AGAIN_S = 0.5
CROWD = 24
MESHSUB = "/meshsub/1.1.0"
KAD = "/ipfs/kad/1.0.0"
OFFERS = offer_topic(NET, MODEL.family)
_FRAME = struct.Struct(YAMUX_HEADER_FORMAT)


def against(victim: str) -> Callable[[Attack], Attack]:
    def enter(attack: Attack) -> Attack:
        ATTACKS[attack.__name__.replace("_", " ")] = victim, attack
        return attack

    return enter


async def again(field: Field, attack: Callable[[Libp2pNet], Awaitable[None]], who: Identity | None = None) -> None:
    """Come back with a new key, as often as it takes."""
    while True:
        try:
            async with hand(field, who) as net:
                await attack(net)
        except* FAILED:
            field.cut_off()
        await trio.sleep(AGAIN_S)


async def at_once(number: int, attack: Callable[..., Awaitable[None]], *given: object) -> None:
    """So many of the same, side by side."""
    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(attack, *given)


# -- at the door


@against("hub")
async def idle_connections(field: Field) -> None:
    """200 that say nothing."""
    await at_once(200, _idle, field)


async def _idle(field: Field) -> None:
    while True:
        with suppress(*GONE):
            async with await field.raw() as socket:
                await socket.receive_some()  # until it is hung up on
            field.cut_off()
        await trio.sleep(AGAIN_S)


@against("hub")
async def idle_peers(field: Field) -> None:
    """40 finished connections, which then do nothing."""

    async def wait(net: Libp2pNet) -> None:
        await until_hung_up(net, field)

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(again, field, wait)
            await trio.sleep(0.1)


@against("hub")
async def handshake_flood(field: Field) -> None:
    """As many half handshakes as go through."""

    async def knock() -> None:
        while True:
            with suppress(*GONE):
                async with await field.raw() as socket:
                    await socket.send_all(b"\x13/multistream/1.0.0\n\x07/noise\n" + struct.pack("!H", 32) + os.urandom(32))
                    with trio.move_on_after(2):
                        while await socket.receive_some():
                            pass
                    field.cut_off()
            await trio.sleep(0.02)

    await at_once(50, knock)


@against("hub")
async def announced_gigabytes(field: Field) -> None:
    """A line of 2 GiB in the first negotiation, before any key is known."""

    async def pour() -> None:
        while True:
            with suppress(*GONE):
                async with await field.raw() as socket:
                    await socket.send_all(b"\xff\xff\xff\xff\x07")
                    while True:
                        await socket.send_all(bytes(64 * 1024))
            field.cut_off()
            await trio.sleep(0.05)

    await at_once(8, pour)


# -- on a connection


@against("hub")
async def garbage_frames(field: Field) -> None:
    """Frames that no multiplexer sends, and lines that no negotiation knows."""
    kinds = (
        os.urandom(4096),
        _FRAME.pack(0, 9, 0, 1, 0),
        _FRAME.pack(0, 0, 1, 0, 0),
        _FRAME.pack(0, 0, 0, 1, 2**31),
        _FRAME.pack(0, 0, 1, 99, 5) + b"\x04\xff\xfe\xff\n",
    )
    turn = count()

    async def babble(net: Libp2pNet) -> None:
        while True:
            await write(net, field, kinds[next(turn) % len(kinds)])
            await trio.sleep(0.05)

    await at_once(4, again, field, babble)


@against("hub")
async def ping_flood(field: Field) -> None:
    """Pings, as many as the wire takes."""

    async def ping(net: Libp2pNet) -> None:
        while True:
            await write(net, field, _FRAME.pack(0, 2, 1, 0, 7) * 4000)

    await again(field, ping)


@against("hub")
async def stream_flood(field: Field) -> None:
    """Streams that are opened and left."""

    async def open_many(net: Libp2pNet) -> None:
        for number in count(1001, 2):
            await write(net, field, _FRAME.pack(0, 1, 1, number, 0))

    await again(field, open_many)


@against("hub")
async def unread_window(field: Field) -> None:
    """Data for a stream that nobody reads, beyond any window."""

    async def pour(net: Libp2pNet) -> None:
        await write(net, field, _FRAME.pack(0, 1, 1, 1001, 0))
        while True:
            await write(net, field, _FRAME.pack(0, 0, 0, 1001, 65000) + bytes(65000))

    await again(field, pour)


@against("first")
async def slow_sender(field: Field) -> None:
    """128 streams, each with half a message."""

    async def dawdle(net: Libp2pNet) -> None:
        for _ in range(128):
            opened = await stream(net, field, OFFER_PROTOCOL)
            await opened.write(struct.pack("!IB", 100_000, 0) + b"x")
        await until_hung_up(net, field)

    await again(field, dawdle)


@against("hub")
async def slow_reader(field: Field) -> None:
    """Questions whose answers are never read."""
    from meshgen.protocols.credit import PROTOCOL, PrintsRequest

    question = PrintsRequest(NET).encode()

    async def ask(net: Libp2pNet) -> None:
        for _ in range(100):
            opened = await stream(net, field, PROTOCOL)
            await opened.write((struct.pack("!IB", len(question), 0) + question + struct.pack("!IB", 0, 1)) * 50)
        await until_hung_up(net, field)

    await again(field, ask)


# -- gossip


def _offers(who: Identity, how_many: int) -> list[bytes]:
    by_hand = Outsider(None, who, chain=[None])  # type: ignore[arg-type, list-item]
    return [rpc(gossip(who, OFFERS, by_hand.offer(features=()).wire)) for _ in range(how_many)]


async def _pour_gossip(net: Libp2pNet, field: Field, messages: list[bytes]) -> None:
    out = await stream(net, field, MESHSUB)
    for index in count():
        await out.write(messages[index % len(messages)])


@against("first")
async def offers_of_one_key(field: Field) -> None:
    """As many valid offers as the wire takes: ten thousand different ones."""
    who = stranger()
    messages = await trio.to_thread.run_sync(_offers, who, field.plenty)
    field.started_s = trio.current_time()
    await again(field, lambda net: _pour_gossip(net, field, messages), who)


@against("first")
async def offers_of_100_keys(field: Field) -> None:
    """The same from a hundred keys, over four connections."""
    lots = [await trio.to_thread.run_sync(_offers, stranger(), field.plenty // 100) for _ in range(100)]
    messages = [message for turn in zip(*lots, strict=True) for message in turn]
    field.started_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for part in range(4):
            nursery.start_soon(again, field, lambda net, part=part: _pour_gossip(net, field, messages[part::4]))


@against("hub")
async def unsigned_gossip(field: Field) -> None:
    """Messages in others' names, and keys that are none."""
    names = [stranger() for _ in range(50)]
    bad_key = gossip(names[0], presence_topic(), b"x", signed=False)
    bad_key.from_id, bad_key.key = b"\x12\x20" + os.urandom(32), b"no key"
    forged = [rpc(gossip(name, presence_topic(), os.urandom(200), signed=False)) for name in names]
    await again(field, lambda net: _pour_gossip(net, field, [rpc(bad_key), *forged]))


@against("hub")
async def oversized_gossip(field: Field) -> None:
    """Messages over the limit, validly signed."""
    who = stranger()
    messages = [rpc(gossip(who, presence_topic(), os.urandom(size))) for size in (70_000, 300_000, 2_000_000)]
    await again(field, lambda net: _pour_gossip(net, field, messages), who)


def _adverts(how_many: int) -> list[bytes]:
    made = []
    for _ in range(how_many):
        who = stranger()
        advert = Outsider(Nowhere(), who, chain=[None]).advert(slots=64)  # type: ignore[arg-type, list-item]
        made.append(rpc(gossip(who, presence_topic(), advert.wire)))
    return made


class Nowhere:
    """The net of somebody who is nowhere."""

    def addresses(self) -> list[str]:
        return ["/ip4/127.0.0.9/tcp/9"]


@against("requester")
async def forged_adverts(field: Field) -> None:
    """Five thousand workers that don't exist, each with a key of its own."""
    messages = await trio.to_thread.run_sync(_adverts, field.plenty // 2)
    field.started_s = trio.current_time()
    await again(field, lambda net: _pour_gossip(net, field, messages))


@against("requester")
async def eclipse(field: Field) -> None:
    """A crowd around a node: each hears all that is gossiped there, and passes nothing on."""

    async def hear_all(net: Libp2pNet) -> None:
        async with net.subscribe(OFFERS, _passes_nothing), net.subscribe(presence_topic(), _passes_nothing):
            await until_hung_up(net, field)

    await at_once(CROWD, again, field, hear_all)


def _passes_nothing(_sender: str, _data: bytes) -> None:
    """Neither valid nor false: it is not forwarded, and nobody is blamed."""


# -- the ledger


@against("hub")
async def log_spam(field: Field) -> None:
    """News of the logs of a thousand fresh keys, who have much to say."""
    from meshgen.peers.news import news_topic
    from meshgen.protocols.credit import News

    async def spam(net: Libp2pNet) -> None:
        out = await stream(net, field, MESHSUB)
        me = stranger()
        while True:
            heads = tuple(Frontier(stranger().public_key, *Head(500, os.urandom(32))) for _ in range(20))
            await out.write(rpc(gossip(me, news_topic(NET), News(NET, heads, ()).encode())))
            await trio.sleep(0.02)

    await again(field, spam)
