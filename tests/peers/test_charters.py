"""Charters among peers on the in-memory net: who has a new version passes it on, and nobody takes what is not signed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace

import pytest
import trio

from meshgen.engine.fake import FakeEngine
from meshgen.identity import Identity
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.ledger.store import Disk
from meshgen.net.memory import MemoryMesh, MemoryNet
from meshgen.net.port import Channel, PeerId, request
from meshgen.peers.charter_file import CharterError
from meshgen.peers.charter_text import render_charter
from meshgen.peers.charters import Charters, fetch_charters
from meshgen.peers.directory import table_rules
from meshgen.peers.peer import Peer
from meshgen.protocols.charter import (
    PROTOCOL,
    CharterAnswer,
    CharterLimits,
    CharterPolicies,
    CharterQuestion,
    Lineage,
    SignedCharter,
    Tariff,
)
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import CHARTER, CharterEntry, decode_entry
from meshgen.settings import load_settings
from tests.conformance.samples import REQUESTER, WORKER
from tests.peers.virtual import identity, now_ms, pictures_of
from tests.protocols.charter_vectors import BOTH, STRANGER, child, signed

FOUNDED = Lineage.founded(signed(BOTH, REQUESTER, WORKER))
LIMITS = CharterLimits(max_hold_mkudos=10**8, stranger_entries=99)
NEXT = child(BOTH, tariff=Tariff(step_mkudos=10), policies=CharterPolicies(max_steps=30, declines=("no-nsfw",)), limits=LIMITS)
AMENDMENT = signed(NEXT, REQUESTER, WORKER)
SPREAD_S = 10.0


class Town:
    """Members of one mesh by name; the first is everybody's door."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.net = MemoryMesh(1)
        self.members: dict[str, Peer] = {}
        self._nursery = nursery
        self._scopes: list[trio.CancelScope] = []

    async def leave(self) -> None:
        """One after the other, as nodes do: each says goodbye to those who are still there."""
        for scope in self._scopes:
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()

    async def member(self, name: str, who: Identity | None = None, lineage: Lineage = FOUNDED, disk: Disk | None = None) -> Peer:
        roles = "worker" if name == "worker" else "requester"
        engine = FakeEngine(seconds_per_picture=1.0) if roles == "worker" else None
        await self._nursery.start(self._live, name, who or identity(name), lineage, disk, roles, engine)
        return self.members[name]

    async def _live(
        self,
        name: str,
        who: Identity,
        lineage: Lineage,
        disk: Disk | None,
        roles: str,
        engine: FakeEngine | None,
        task_status: trio.TaskStatus[None],
    ) -> None:
        settings = load_settings(overrides={"node.roles": [roles], "node.alias": name})
        async with AsyncExitStack() as stack:
            self._scopes.append(stack.enter_context(trio.CancelScope()))
            net = await stack.enter_async_context(self.net.join(who, table=table_rules(now_ms)))
            ledger = await stack.enter_async_context(open_ledger(disk, who, lineage.net, now_ms=now_ms))
            nursery = await stack.enter_async_context(trio.open_nursery())
            peer = Peer(settings, who, net, ledger, engine, now_ms=now_ms, lineage=lineage)
            doors = [other.net.addresses()[0] for other in self.members.values()][:1]
            self.members[name] = peer
            await nursery.start(peer.run)
            for door in doors:
                await net.connect(door)
            await trio.sleep(SPREAD_S)
            task_status.started()
            await trio.sleep_forever()

    @property
    def versions(self) -> list[int]:
        return [member.charters.current.version for member in self.members.values()]


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    async with trio.open_nursery() as nursery:
        ours = Town(nursery)
        yield ours
        await ours.leave()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def alone(who: Identity, lineage: Lineage, disk: Disk | None = None) -> AsyncIterator[tuple[Charters, MemoryNet, Ledger]]:
    """The role by itself."""
    async with (
        MemoryMesh(1).join(who) as net,
        open_ledger(disk, who, lineage.net, now_ms=now_ms) as ledger,
        trio.open_nursery() as nursery,
    ):
        charters = Charters(net, ledger, lineage)
        await nursery.start(charters.run)
        yield charters, net, ledger
        nursery.cancel_scope.cancel()


def recorded(ledger: Ledger, author: bytes) -> list[CharterEntry]:
    entries = [decode_entry(wire) for wire in ledger.entries(author, 1, 1000)]
    return [CharterEntry.from_entry(entry) for entry in entries if entry.kind == CHARTER]


async def test_a_new_version_reaches_everybody_linked(autojump_clock: trio.testing.MockClock) -> None:
    async with town() as ours:
        for name in ("hub", "worker", "asker", "another"):
            await ours.member(name)
        await ours.members["asker"].adopt_charter(render_charter(AMENDMENT))
        await trio.sleep(SPREAD_S)
        assert ours.versions == [1, 1, 1, 1]
        assert {member.charters.lineage.hash for member in ours.members.values()} == {NEXT.hash}


async def test_who_comes_late_hears_of_it_and_tells_of_it(autojump_clock: trio.testing.MockClock) -> None:
    async with town() as ours:
        await ours.member("hub")
        await ours.member("worker", lineage=FOUNDED.amended(AMENDMENT))
        assert ours.versions == [1, 1], "the hub was told by the newcomer"
        await ours.member("asker")
        assert ours.versions == [1, 1, 1], "the newcomer was told by the hub"


async def test_a_long_line_is_caught_up_with(autojump_clock: trio.testing.MockClock) -> None:
    line, charter = FOUNDED, BOTH
    for number in range(40):
        charter = child(charter, about=f"change {number}")
        line = line.amended(signed(charter, REQUESTER, WORKER))
    async with town() as ours:
        await ours.member("hub", lineage=line)
        await ours.member("asker")
        assert ours.versions == [40, 40]
        stranger = ours.members["asker"].net
        documents = await fetch_charters(stranger, PeerId(identity("hub").peer_id), FOUNDED.net, 0)
        assert (len(documents), documents[0]) == (16, FOUNDED.documents[0])


async def test_tariff_limits_and_policies_follow_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with town() as ours:
        worker, asker = await ours.member("worker"), await ours.member("asker")
        before = await pictures_of(asker)
        assert before.mkudos == 90 * 24 + 3000 and worker.settings.worker.max_steps == 100
        await worker.adopt_charter(render_charter(AMENDMENT))
        await trio.sleep(SPREAD_S)
        assert (await pictures_of(asker)).mkudos == 10 * 24 + 3000
        assert worker.settings.worker.max_steps == 30
        assert worker.bookkeeping.interest.stranger_entries == 99
        assert worker.worker is not None and worker.worker.policy.max_hold_mkudos == 10**8
        assert "1 allows at most 30 steps" in (await pictures_of(asker, steps=31)).error
        advert = asker.directory.get(PeerId(worker.peer_id))
        assert advert is not None and (advert.max_steps, advert.policies) == (30, ("no-nsfw",))
        assert asker.status()["mesh"] == {
            "charter": "our-collective",
            "version": 1,
            "net": FOUNDED.net.hex(),
            "hash": NEXT.hash.hex(),
            "delegates": 2,
            "threshold": 2,
        }


async def test_a_delegate_puts_what_it_signed_on_record_once(autojump_clock: trio.testing.MockClock) -> None:
    disk, mine = Disk(), WORKER.public_key
    async with alone(WORKER, FOUNDED, disk) as (charters, _, ledger):
        await charters.adopt(AMENDMENT)
        assert recorded(ledger, mine) == [CharterEntry(BOTH.hash, 0, b""), CharterEntry(NEXT.hash, 1, BOTH.hash)]
    async with alone(WORKER, FOUNDED.amended(AMENDMENT), disk) as (_, _, ledger):
        assert len(recorded(ledger, mine)) == 2, "a restart says nothing twice"


async def test_a_delegate_that_is_alone_starts_though_nobody_confirms_its_log(autojump_clock: trio.testing.MockClock) -> None:
    """It was signed while the node was off; the node can put it on record when it has met somebody."""
    disk = Disk()
    for lineage in (FOUNDED, FOUNDED.amended(AMENDMENT)):
        async with trio.open_nursery() as nursery:
            with trio.fail_after(2 * SPREAD_S):
                await Town(nursery).member("delegate", REQUESTER, lineage, disk)
            nursery.cancel_scope.cancel()


async def test_others_and_delegates_who_did_not_sign_put_nothing_on_record(autojump_clock: trio.testing.MockClock) -> None:
    async with alone(STRANGER, FOUNDED) as (charters, _, ledger):
        await charters.adopt(AMENDMENT)
        assert recorded(ledger, STRANGER.public_key) == []
    founded = Lineage.founded(signed(replace(BOTH, threshold=1), REQUESTER))
    async with alone(WORKER, founded) as (_, _, ledger):
        assert recorded(ledger, WORKER.public_key) == []


async def test_a_plain_name_serves_and_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    plain = Lineage.plain("ours")
    async with alone(WORKER, plain) as (charters, _, ledger):
        with pytest.raises(Malformed, match="nobody can amend"):
            await charters.adopt(AMENDMENT)
        assert recorded(ledger, WORKER.public_key) == []


@pytest.mark.parametrize(
    "document",
    [
        signed(NEXT, WORKER),
        signed(child(BOTH, threshold=1), WORKER),
        signed(child(BOTH, delegates=(STRANGER.public_key,), threshold=1), STRANGER),
        signed(child(NEXT), REQUESTER, WORKER),
        FOUNDED.documents[0],
    ],
    ids=["half signed", "lowers its own threshold", "a stranger's", "of the future", "the founding one again"],
)
async def test_what_does_not_follow_is_not_taken(document: SignedCharter, autojump_clock: trio.testing.MockClock) -> None:
    async with alone(WORKER, FOUNDED) as (charters, _, _):
        with pytest.raises(Malformed):
            await charters.adopt(document)
        assert charters.lineage == FOUNDED


@contextmanager
def answering(net: MemoryNet, answer: bytes) -> Iterator[None]:
    async def play(channel: Channel) -> None:
        await channel.receive()
        await channel.send(answer, last=True)

    net.serve(PROTOCOL, play)
    yield


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xc0",
        CharterAnswer(bytes(16), (AMENDMENT.encode(),)).encode(),
        CharterAnswer(FOUNDED.net, (signed(NEXT, WORKER).encode(),)).encode(),
        CharterAnswer(FOUNDED.net, (b"rubbish",)).encode(),
        CharterAnswer(FOUNDED.net, (FOUNDED.documents[0].encode(),) * 16).encode(),
    ],
    ids=["nothing", "no message", "another mesh", "half signed", "rubbish inside", "the old one for ever"],
)
async def test_a_liar_is_asked_in_vain(answer: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with town() as ours, ours.net.join(STRANGER) as liar:
        hub = await ours.member("hub")
        with answering(liar, answer):
            await liar.connect(hub.net.addresses()[0])
            await trio.sleep(SPREAD_S)
        assert hub.charters.lineage == FOUNDED


async def test_questions(autojump_clock: trio.testing.MockClock) -> None:
    async with town() as ours, ours.net.join(STRANGER) as asking:
        hub = await ours.member("hub", lineage=FOUNDED.amended(AMENDMENT))
        peer = await asking.connect(hub.net.addresses()[0])

        async def ask(mesh: bytes, from_version: int) -> tuple[bytes, ...]:
            question = CharterQuestion(mesh, from_version).encode()
            return CharterAnswer.decode(await request(asking, peer, PROTOCOL, question)).documents

        assert await ask(FOUNDED.net, 0) == (FOUNDED.documents[0].encode(), AMENDMENT.encode())
        assert await ask(FOUNDED.net, 1) == (AMENDMENT.encode(),)
        assert await ask(FOUNDED.net, 2) == await ask(FOUNDED.net, 256) == await ask(bytes(16), 0) == ()


async def test_it_is_kept_before_it_is_in_force(autojump_clock: trio.testing.MockClock) -> None:
    kept: list[bytes] = []
    async with alone(WORKER, FOUNDED) as (charters, _, _):
        charters._save = lambda lineage: kept.append(lineage.hash)
        await charters.adopt(AMENDMENT)
        assert kept == [NEXT.hash]

        def fail(lineage: Lineage) -> None:
            raise OSError(28, "no room")

        charters._save = fail
        with pytest.raises(CharterError, match="no room"):
            await charters.adopt(signed(child(NEXT), REQUESTER, WORKER))
        assert charters.current.version == 1
