"""One budget for what waits of all peers' bytes: who is held back, and who has to go."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from libp2p.stream_muxer.yamux.yamux import YAMUX_HEADER_FORMAT

from meshgen.net.libp2p import budget as libp2p_budget
from meshgen.net.libp2p import yamux as libp2p_yamux
from meshgen.net.libp2p.budget import LEAST_BYTES, MOST_BYTES, SHARE_BYTES, Account, Budget, Standing, affordable
from meshgen.net.port import MAX_MESSAGE_BYTES, request
from tests.attackers.attacks import FAILED
from tests.attackers.hands import Field, stream, write
from tests.net.conftest import Libp2pWorld, echo, until

MIB = 1024 * 1024
ECHO = "/test/echo/1"
_FRAME = struct.Struct(YAMUX_HEADER_FORMAT)


class Peer:
    """A connection that holds what it is told to."""

    def __init__(self, budget: Budget, held: int = 0, standing: Standing = Standing.STRANGER) -> None:
        self.gone = False
        self.account: Account = budget.open(lambda: self.held, lambda: standing, self._go)
        self.holds(held)

    def holds(self, count: int) -> None:
        self.held = count
        self.account.update()

    def _go(self) -> None:
        self.gone = True


def test_up_to_half_nobody_is_held_back() -> None:
    budget = Budget(40 * MIB)
    glutton, other = Peer(budget, 19 * MIB), Peer(budget, 1 * MIB)
    assert not budget.is_over(glutton.account)
    other.holds(2 * MIB)
    assert budget.is_over(glutton.account)
    assert not budget.is_over(other.account), "it holds less than its share"


def test_a_largest_message_is_read_to_its_end_in_any_case() -> None:
    budget = Budget(8 * MIB)
    peers = [Peer(budget, SHARE_BYTES) for _ in range(6)]
    assert budget.held > budget.total // 2
    assert not any(budget.is_over(each.account) for each in peers)
    assert SHARE_BYTES > MAX_MESSAGE_BYTES


def test_friends_are_held_back_last_and_never_let_go() -> None:
    budget = Budget(40 * MIB)
    friend, small, large = Peer(budget, 30 * MIB, Standing.FRIEND), Peer(budget, 2 * MIB), Peer(budget, 4 * MIB)
    assert not budget.is_over(friend.account)
    small.holds(7 * MIB)
    assert small.gone, "it holds most of the strangers, and all together hold too much"
    assert not large.gone
    large.holds(11 * MIB)
    assert large.gone
    assert not friend.gone
    friend.holds(41 * MIB)
    assert not friend.gone
    assert budget.is_over(friend.account)


def test_whom_this_node_dialled_go_after_strangers_and_before_friends() -> None:
    """Others name whom it dials: a crowd of these would fill any machine."""
    budget = Budget(40 * MIB)
    friend, stranger = Peer(budget, 10 * MIB, Standing.FRIEND), Peer(budget, 1 * MIB)
    dialled = [Peer(budget, 8 * MIB, Standing.DIALLED) for _ in range(3)]
    dialled[0].holds(9 * MIB)
    assert not any(budget.is_over(each.account) for each in dialled)
    dialled[1].holds(14 * MIB)
    assert stranger.gone
    assert dialled[1].gone
    assert not any(each.gone for each in (friend, dialled[0], dialled[2]))


def test_above_the_whole_the_largest_goes_and_is_forgotten() -> None:
    budget = Budget(10 * MIB)
    peers = [Peer(budget, 2 * MIB) for _ in range(4)] + [Peer(budget, 3 * MIB)]
    assert [each.gone for each in peers] == [False] * 4 + [True]
    assert budget.held == 8 * MIB
    peers[-1].holds(5 * MIB)
    assert budget.held == 8 * MIB
    for each in peers:
        each.account.close()
    assert budget.held == 0
    assert not budget.holders


async def test_who_is_held_back_goes_on_when_it_was_read(autojump_clock: Any) -> None:
    budget = Budget(10 * MIB)
    slow = Peer(budget, 6 * MIB)
    went_on: list[float] = []

    async def read_on() -> None:
        await slow.account.room()
        went_on.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_on)
        await trio.testing.wait_all_tasks_blocked()
        slow.holds(5 * MIB + 1)
        await trio.testing.wait_all_tasks_blocked()
        assert not went_on
        slow.held = 2 * MIB  # read by somebody who tells nobody
    assert went_on


@pytest.mark.parametrize(
    ("machine", "container", "total"),
    [
        (64 * 2**30, "max", MOST_BYTES),
        (2**30, "", 128 * MIB),
        (64 * 2**30, str(2**29), 64 * MIB),
        (2**27, "nonsense", LEAST_BYTES),
    ],
)
def test_what_a_machine_can_afford(
    machine: int, container: str, total: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    if container:
        limit.write_text(container + "\n")
    monkeypatch.setattr(libp2p_budget, "_CONTAINER", limit)
    monkeypatch.setattr(libp2p_budget, "psutil", SimpleNamespace(virtual_memory=lambda: SimpleNamespace(total=machine)))
    assert affordable.__wrapped__() == total


async def _hoard(mallory: Any, field: Field, count: int) -> None:
    """Bytes on a stream that nobody reads."""
    with suppress(*FAILED):
        number = (await stream(mallory, field, "/test/deaf/1")).muxed_stream.stream_id
        for _ in range(count // 50_000):
            await write(mallory, field, _FRAME.pack(0, 0, 0, number, 50_000) + b"\xff" * 50_000)


async def test_many_that_hoard_are_bounded_together(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is far below what one connection may hold."""
    monkeypatch.setattr(libp2p_budget, "SHARE_BYTES", 100_000)
    victim: Any = await libp2p_world.join(1)
    budget = budget_of(victim)
    budget.total = 600_000
    listens = trio.Event()
    victim.serve("/test/deaf/1", lambda _channel: listens.wait())
    victim.serve(ECHO, echo)
    honest: Any = await libp2p_world.join(2)
    hoarders = [await libp2p_world.join(number) for number in range(3, 8)]
    field = Field(victim.addresses()[0])
    async with trio.open_nursery() as nursery:
        for each in hoarders:
            nursery.start_soon(_hoard, each, field, 200_000)
        await until(lambda: budget.held > 300_000)  # while they still write: who is held back for long is hung up on
        assert budget.held <= budget.total
        assert await request(honest, victim.peer_id, ECHO, bytes(90_000)) == bytes(90_000)
        listens.set()
        await until(lambda: budget.held < 100_000)


async def test_who_is_held_back_for_long_is_hung_up_on(libp2p_world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it answers cannot be told: its pongs wait, too."""
    monkeypatch.setattr(libp2p_budget, "SHARE_BYTES", 100_000)
    monkeypatch.setattr(libp2p_yamux, "PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(libp2p_yamux, "PONG_TIMEOUT_S", 0.5)
    victim: Any = await libp2p_world.join(1)
    budget_of(victim).total = 300_000
    listens = trio.Event()
    victim.serve("/test/deaf/1", lambda _channel: listens.wait())
    hoarder = await libp2p_world.join(2)
    await _hoard(hoarder, Field(victim.addresses()[0]), 200_000)
    await until(lambda: not victim.links())
    assert budget_of(victim).held == 0


async def test_what_waits_in_a_channel_is_counted(libp2p_world: Libp2pWorld) -> None:
    victim: Any = await libp2p_world.join(1)
    guest: Any = await libp2p_world.join(2)
    budget, done = budget_of(victim), trio.Event()

    async def first_only(channel: Any) -> None:
        await channel.receive()
        await done.wait()

    victim.serve("/test/one/1", first_only)
    async with guest.open(victim.peer_id, "/test/one/1") as channel:
        await channel.send(b"a", bytes(100_000))
        await until(lambda: budget.held >= 100_000)
        done.set()
        assert await channel.receive() is None
    await until(lambda: budget.held < 1000)


def budget_of(net: Any) -> Budget:
    budget: Budget = net._swarm.upgrader.muxer_multistream.watch.budget
    return budget
