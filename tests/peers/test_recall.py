"""Who says what about the end of a node's own log: liars, those that say nothing, and those that know and can't tell at once."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trio.testing

from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.ledger.store import Disk
from meshgen.net.memory import MemoryNet
from meshgen.net.port import Channel, PeerId, request
from meshgen.peers.directory import PRESENCE_PROTOCOL, table_rules
from meshgen.peers.peer import Peer
from meshgen.peers.recall import LOST_PATIENCE_S, MEET_S, PATIENCE_S
from meshgen.protocols.credit import PROTOCOL, Frontier, Heads, HeadsRequest, RangeReply, RangeRequest, Transfer
from meshgen.protocols.record import decode_any
from meshgen.settings import load_settings
from tests.peers.outsiders import Outsider
from tests.peers.virtual import NET, VirtualMesh, identity, now_ms, pictures_of, virtual_mesh

GIFT = Transfer(identity("friend").public_key, 1, 0, b"")
ME = identity("me")
LIES = 10**6
LOOK_S = 1.0
"""Here a test looks this often whether a log is confirmed."""


def nobody(_seq: int) -> bool:
    return False


@dataclass
class Teller:
    """An archivist by its own word, that tells of ``me`` what it was given to tell. Without ``serves`` it says nothing at all."""

    net: MemoryNet
    me: bytes
    head: Frontier | None = None
    wires: list[bytes] = field(default_factory=list)
    shows: Callable[[int], bool] = nobody
    nonsense: bool = False
    serves: bool = True
    lives: float = math.inf
    """So many answers."""
    asked: int = 0

    async def answer(self, channel: Channel) -> None:
        question = decode_any(await channel.receive() or b"", (RangeRequest, HeadsRequest))
        self.asked += 1
        if not self.serves or self.asked > self.lives:
            await trio.sleep_forever()
        heads = Heads(NET, (self.head,) if self.head else ()).encode()
        if isinstance(question, HeadsRequest) or self.nonsense:
            await channel.send(heads, last=True)
        else:
            assert isinstance(question, RangeRequest)
            asked = self.wires[question.from_seq - 1 : question.to_seq] if self.shows(question.from_seq) else []
            seq = self.head.seq if self.head else 0
            await channel.send(RangeReply(NET, self.me, seq, tuple(asked)).encode(), last=True)


@asynccontextmanager
async def teller(mesh: VirtualMesh, through: Peer, me: bytes, name: str = "teller", **told: object) -> AsyncIterator[Teller]:
    """It is linked with ``through``, which introduces it to others."""
    async with mesh.net.join(identity(name), table=table_rules(now_ms)) as net:
        it = Teller(net, me, **told)  # type: ignore[arg-type]
        net.serve(PROTOCOL, it.answer)
        await net.connect(through.net.addresses()[0])
        await tell_of(name, net, through)
        yield it


async def tell_of(name: str, net: MemoryNet, whom: Peer) -> None:
    """Anybody may bring an advert, whoever it is of."""
    advert = Outsider(net, identity(name)).advert(models=(), roles=("archivist",), expires_ms=now_ms() + 600_000)
    await request(net, whom.net.peer_id, PRESENCE_PROTOCOL, advert.wire)


async def lived(times: int, lost: int) -> tuple[list[bytes], Disk]:
    """(a log after so many entries behind its GENESIS, a disk without the last of them), and nothing shows that it is old."""
    disk, old = Disk(), Disk()
    async with open_ledger(disk, ME, NET, now_ms=now_ms) as ledger:
        for number in range(times):
            if number == times - lost:
                old = disk.copy()
            await ledger.append(GIFT)
        old.is_copy = False
        return ledger.entries(ME.public_key, 1, times + 1), old


async def ids_of(wires: list[bytes]) -> Frontier:
    async with open_ledger(None, identity("reader"), NET, now_ms=now_ms) as ledger:
        await ledger.add(ME.public_key, wires)
        return Frontier(ME.public_key, *ledger.known(ME.public_key))


@asynccontextmanager
async def started(mesh: VirtualMesh, disk: Disk, *others: Peer | Teller, restored: bool = False) -> AsyncIterator[Ledger]:
    """The node ``me``, linked with these others, which wants to go on with its log at once."""
    async with (
        mesh.net.join(ME, table=table_rules(now_ms)) as net,
        open_ledger(disk, ME, NET, now_ms=now_ms) as ledger,
        trio.open_nursery() as nursery,
    ):
        if restored:
            ledger.distrust()
        peer = Peer(load_settings(), ME, net, ledger, None, now_ms=now_ms)
        await nursery.start(peer.run)
        nursery.start_soon(ledger.append, GIFT)
        for other in others:
            await net.connect(other.net.addresses()[0])
        yield ledger
        nursery.cancel_scope.cancel()


async def confirmed_s(ledger: Ledger, most_s: float) -> float:
    began_s = trio.current_time()
    with trio.move_on_after(most_s):
        while not ledger.confirmed:  # noqa: ASYNC110 - a node tells of it nowhere
            await trio.sleep(LOOK_S)
    return trio.current_time() - began_s


@pytest.mark.parametrize(
    ("lie", "most_s"),
    [
        ({"nonsense": True}, MEET_S + 2 * LOOK_S),
        ({}, PATIENCE_S + MEET_S + 2 * LOOK_S),
        ({"wires": [b"\x00"] * LIES, "shows": LIES.__ge__}, MEET_S + 2 * LOOK_S),
    ],
    ids=["nonsense", "a number", "junk"],
)
async def test_a_number_alone_stops_nobody(lie: dict[str, object], most_s: float, autojump_clock: trio.testing.MockClock) -> None:
    """Nor does it have those waited for who are away: one stranger would stop whoever starts for three minutes."""
    async with virtual_mesh() as mesh:
        hub = await mesh.add("hub", "hub")
        await mesh.worker("near")
        await mesh.worker("far")
        asker = await mesh.requester()
        for _ in range(8):
            await pictures_of(asker)
        me = asker.identity.public_key
        assert hub.ledger.edges().keys() <= asker.ledger.edges().keys() and len(asker.ledger.edges()) == 2, "with both of them"
        await mesh.leave("far")
        async with teller(mesh, hub, me, head=Frontier(me, LIES, bytes(32)), **lie) as liar:
            await trio.sleep(60)
            await mesh.kill("asker")
            asker = await mesh.restart("asker", doors=False)
            for other in (liar, hub, mesh.nodes["near"]):
                await asker.net.connect(other.net.addresses()[0])
            assert await confirmed_s(asker.ledger, LOST_PATIENCE_S * 2) <= most_s and liar.asked
            assert (asker.net.conduct.score(liar.net.peer_id) > 0) == bool(lie), "what no honest peer sends is held against it"
            assert (await pictures_of(asker)).state == "done"


@pytest.mark.parametrize("there", [True, False], ids=["silent", "made up"])
async def test_who_says_nothing_lets_others_have_their_turn(there: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Adverts cost nothing: who stood first in the line by them, and stayed there, kept the others from being asked at all."""
    wires, old = await lived(6, 3)
    async with virtual_mesh() as mesh, trio.open_nursery() as nursery, mesh.net.join(identity("stranger")) as stranger:
        bystander = await mesh.requester("bystander")
        for name in ("one", "two", "three", "four"):
            if there:
                await nursery.start(partial(hold, mesh, bystander, name))
            else:
                await tell_of(name, stranger, bystander)
        async with started(mesh, old, bystander, restored=True) as mine:
            await trio.sleep(PATIENCE_S * 2)
            keeper = await mesh.requester("keeper")
            await keeper.bookkeeping.archivist.take(ME.public_key, wires)
            await keeper.net.connect(mesh.net.nets[PeerId(ME.peer_id)].addresses()[0])
            assert await confirmed_s(mine, LOST_PATIENCE_S) <= PATIENCE_S
            await trio.sleep(LOOK_S)
            assert mine.head().seq == len(wires) + 1 and not keeper.ledger.forks()
        nursery.cancel_scope.cancel()


async def test_who_is_away_is_told_of_once(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """As it was, a partner that had left filled the log with four lines a second."""
    caplog.set_level(logging.INFO, "meshgen.peers.recall")
    _, old = await lived(6, 3)
    async with virtual_mesh() as mesh, mesh.net.join(identity("stranger")) as stranger:
        bystander = await mesh.requester("bystander")
        for name in ("one", "two"):
            await tell_of(name, stranger, bystander)
        async with started(mesh, old, bystander, restored=True):
            await trio.sleep(PATIENCE_S * 4)
    said = [record.getMessage() for record in caplog.records if "not told where the own log ends" in record.getMessage()]
    assert len(said) == len(set(said)) == 2, said


async def hold(mesh: VirtualMesh, through: Peer, name: str, task_status: trio.TaskStatus[None]) -> None:
    async with teller(mesh, through, ME.public_key, name, serves=False):
        task_status.started()
        await trio.sleep_forever()


async def test_who_may_know_is_heard_though_others_say_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A copy waits for all; the three that stand first of them keep nobody from being asked."""
    names = sorted((f"silent {number}" for number in range(40)), key=lambda name: identity(name).peer_id)[:3]
    async with virtual_mesh() as mesh, trio.open_nursery() as nursery:
        hub = await mesh.add("hub", "hub")
        await mesh.worker("w")
        asker = await mesh.requester()
        old = mesh.backup("asker")
        await pictures_of(asker)
        head = asker.ledger.head()
        for name in names:
            await nursery.start(partial(hold, mesh, hub, name))
        await mesh.kill("asker")
        mesh.partition(["w"])
        asker = await mesh.restore("asker", old)
        await trio.sleep(PATIENCE_S * 2)
        mesh.heal()
        await mesh.nodes["w"].net.connect(asker.net.addresses()[0])
        await trio.sleep(PATIENCE_S)
        assert asker.ledger.head() == head
        await trio.sleep(LOST_PATIENCE_S)
        assert (await pictures_of(asker)).state == "done"
        assert not any(node.ledger.forks() for node in mesh.nodes.values())
        nursery.cancel_scope.cancel()


async def test_who_has_dropped_the_beginning_proves_that_there_is_more(autojump_clock: trio.testing.MockClock) -> None:
    """No patience ends what is certain: an entry that bears the own signature stands behind the own head."""
    wires, old = await lived(6, 3)
    async with virtual_mesh() as mesh:
        stale = await mesh.add("stale", "hub archivist")
        await stale.bookkeeping.archivist.take(ME.public_key, wires[:4])
        pruned = {"head": await ids_of(wires), "wires": wires, "shows": (len(wires)).__eq__}
        async with teller(mesh, stale, ME.public_key, **pruned) as it, started(mesh, old, it, stale) as mine:
            await trio.sleep(LOST_PATIENCE_S * 3)
            assert mine.head().seq == 4 and not mine.confirmed
            whole = await mesh.add("whole", "hub archivist")
            await whole.bookkeeping.archivist.take(ME.public_key, wires)
            await confirmed_s(mine, 60)
            await trio.sleep(60)
            assert mine.head().seq == len(wires) + 1
            assert not any(node.ledger.forks() for node in (stale, whole))


async def test_who_can_show_it_a_little_later_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """An archivist that took in a long chain has to judge it before it hands it on."""
    wires, old = await lived(6, 3)
    async with virtual_mesh() as mesh:
        stale = await mesh.add("stale", "hub archivist")
        await stale.bookkeeping.archivist.take(ME.public_key, wires[:4])
        later_s = trio.current_time() + PATIENCE_S / 2
        judging = {"head": await ids_of(wires), "wires": wires, "shows": lambda _seq: trio.current_time() > later_s}
        async with teller(mesh, stale, ME.public_key, **judging) as it, started(mesh, old, it, stale) as mine:
            await confirmed_s(mine, PATIENCE_S * 2)
            await trio.sleep(LOOK_S)
            assert mine.head().seq == len(wires) + 1 and not stale.ledger.forks()


async def test_who_showed_some_of_it_and_died_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """It alone knows the end. It is back within three minutes."""
    wires, old = await lived(6, 3)
    async with virtual_mesh() as mesh:
        stale = await mesh.add("stale", "hub archivist")
        await stale.bookkeeping.archivist.take(ME.public_key, wires[:4])
        dying = {"head": await ids_of(wires), "wires": wires[:5], "shows": (5).__eq__, "lives": 2}
        async with teller(mesh, stale, ME.public_key, **dying) as it, started(mesh, old, it, stale) as mine:
            await trio.sleep(LOST_PATIENCE_S / 2)
            assert mine.head().seq == 5 and not mine.confirmed
            it.lives, it.wires, it.shows = math.inf, wires, (0).__lt__
            await confirmed_s(mine, 60)
            await trio.sleep(LOOK_S)
            assert mine.head().seq == len(wires) + 1 and not stale.ledger.forks()
