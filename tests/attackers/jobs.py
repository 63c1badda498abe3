"""Attacks by those who deal: workers that win and do not draw, requesters that order and leave."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import trio

from meshgen.net.port import Channel, NetError
from meshgen.protocols.envelope import Signed
from meshgen.protocols.job import PROTOCOL as JOB
from meshgen.protocols.job_sides import WorkerSide
from meshgen.protocols.offer import Bid
from meshgen.testing.outsiders import FalseWorker, Outsider, Play
from tests.attackers.attacks import AGAIN_S, FAILED, against, at_once
from tests.attackers.hands import Field, hand, is_connected, stranger

FALSE_WORKERS = 6
SHOW_S, SIGN_S = 5.0, 2.0
BOMB_MIB = 40
"""Twice, it comes to less than the most bytes that a picture of 64x64 may have."""


@asynccontextmanager
async def false_worker(field: Field, play: Play) -> AsyncIterator[FalseWorker]:
    who = stranger()
    async with hand(field, who) as net:
        worker = FalseWorker(cast(Any, net), who, play=play, mkudos=1)
        field.workers.append(worker)
        await worker.start()
        yield worker


async def _work(field: Field, play: Play) -> None:
    """False workers, each until it is cut off or has been awarded three times; then it comes with another key."""
    await at_once(FALSE_WORKERS, _work_on, field, play)


async def _work_on(field: Field, play: Play) -> None:
    while True:
        try:
            async with false_worker(field, play) as worker:
                while is_connected(worker.net, field) and worker.awards < 3:  # type: ignore[arg-type]
                    with trio.move_on_after(SHOW_S):
                        await trio.sleep(SHOW_S)
                    await worker.show_itself()
        except* FAILED:
            field.cut_off()
        await trio.sleep(AGAIN_S)


@against("requester")
async def bid_spam(field: Field) -> None:
    """Workers that bid less than anybody, take the award, and say nothing."""

    async def silence(_me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
        await channel.send(side.accept())
        await trio.sleep_forever()

    await _work(field, silence)


@against("requester")
async def endless_worker(field: Field) -> None:
    """Workers that make progress for ever."""

    async def go_on(_me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
        await channel.send(side.accept())
        while True:
            await channel.send(*(side.progress(0, 1) for _ in range(100)))

    await _work(field, go_on)


@against("requester")
async def stalling_worker(field: Field) -> None:
    """Workers that give signs of life, as those do that wait for their device, and nothing else."""

    async def breathe(_me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
        await channel.send(side.accept())
        while True:
            await channel.send(side.progress(0, 0))
            with trio.move_on_after(SIGN_S):
                await channel.receive()  # until the requester leaves

    await _work(field, breathe)


@against("requester")
async def decompression_bombs(field: Field) -> None:
    """Workers whose picture is a few kilobytes, and gigabytes when it is decoded."""

    async def bomb(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
        await channel.send(side.accept())
        for message in side.result(0, png_bomb(side.terms.width, side.terms.height), bytes(16), 0):
            await channel.send(message)
        await channel.send(side.bill(me.who))
        await channel.receive()

    await _work(field, bomb)


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of the size that was ordered, whose pixels and whose text unpack to a thousand times as much."""
    zeros = zlib.compress(bytes(BOMB_MIB * 2**20), 9)
    header = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"zTXt", b"parameters\0\0" + zeros), (b"IDAT", zeros), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


@against("first")
async def award_and_vanish(field: Field) -> None:
    """Requesters that award, and are gone: as many as the worker lets in."""

    async def order_and_go() -> None:
        who = stranger()
        async with hand(field, who) as net:
            me = Outsider(cast(Any, net), who)
            worker = _Whom(field)
            for _ in range(5):
                offer = me.offer(count=1)
                bid = await me.ask(cast(Any, worker), offer)
                if not isinstance(bid.message, Bid):
                    field.cut_off()  # it is refused work
                    continue
                deal = me.deal_on(offer, cast(Signed[Bid], bid), 1)
                async with net.open(field.peer, JOB) as channel:
                    await channel.send(deal.award.wire)
                    raise NetError("vanish")

    await at_once(6, _keep_on, order_and_go)


async def _keep_on(attempt: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await attempt()
        except* FAILED:
            pass
        await trio.sleep(AGAIN_S)


class _Whom:
    """A worker as an Outsider names it."""

    def __init__(self, field: Field) -> None:
        self.net = self
        self.peer_id = field.peer
