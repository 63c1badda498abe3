"""How logs travel and how two stories meet, on the in-memory net in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from meshgen.ledger import checkpoints
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.store import Disk
from meshgen.net.memory import MemoryMesh
from meshgen.net.port import Channel, ChannelHandler, Unreachable, request
from meshgen.peers.archivist import PULL_S, Archivist
from meshgen.peers.interest import MAX_STRANGER_ENTRIES, Interest
from meshgen.peers.news import NEWS_GAP_S
from meshgen.peers.peer import Peer
from meshgen.peers.reconciliation import PROVED_S, RECONCILE_S
from meshgen.protocols.codec import encode
from meshgen.protocols.credit import (
    MAX_RANGE_ENTRIES,
    PROTOCOL,
    Advisory,
    Checkpoint,
    Entry,
    Frontier,
    Hold,
    RangeReply,
    RangeRequest,
    Transfer,
    Witness,
    WitnessRequest,
    decode_entry,
    make_entry,
)
from meshgen.protocols.record import peek_tag
from meshgen.testing import NET, VirtualMesh, identity, now_ms, pictures_of, virtual_mesh
from meshgen.testing.outsiders import extend, make_chain, outsider

LINKED_AGAIN_S = 150.0
"""After a split has healed, at most."""


async def village(mesh: VirtualMesh) -> list[Peer]:
    return [
        await mesh.add("hub", "hub archivist"),
        await mesh.worker("w1"),
        await mesh.worker("w2"),
        await mesh.requester("asker"),
    ]


def hold(payee: Peer, number: int) -> Hold:
    head = payee.ledger.head()
    return Hold(bytes([number]) * 32, payee.identity.public_key, 100, now_ms() + 60_000, head.seq, head.id)


def two_stories(one: Peer, other: Peer) -> tuple[bytes, list[Entry], list[Entry]]:
    """A cheat's chains for two workers: they part at entry 3."""
    cheat = identity("cheat")
    left = make_chain(cheat, hold(one, 1))
    right = list(left)
    extend(left, cheat, hold(one, 2))
    extend(right, cheat, hold(other, 3))
    extend(right, cheat, hold(other, 4))
    return cheat.public_key, left, right


def serving(chain: list[Entry]) -> ChannelHandler:
    """Answers for one chain as an honest peer would."""

    async def answer(channel: Channel) -> None:
        wire = await channel.receive()
        assert wire is not None
        if peek_tag(wire) == RangeRequest.TAG:
            asked = RangeRequest.decode(wire)
            found = chain[asked.from_seq - 1 : asked.to_seq] if asked.author == chain[0].author else []
            reply = RangeReply(NET, asked.author, chain[-1].seq, tuple(entry.wire for entry in found))
            await channel.send(reply.encode(), last=True)

    return answer


def wires(chain: list[Entry]) -> list[bytes]:
    return [entry.wire for entry in chain]


async def test_two_stories_told_to_two_workers_meet(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        everybody = await village(mesh)
        _, w1, w2, _ = everybody
        cheat, left, right = two_stories(w1, w2)
        await w1.bookkeeping.archivist.take(cheat, wires(left))
        await w2.bookkeeping.archivist.take(cheat, wires(right))
        await trio.sleep(2 * NEWS_GAP_S)
        assert [node.ledger.forked_at(cheat) for node in everybody] == [3, 3, 3, 3]
        await trio.sleep(2 * RECONCILE_S)
        assert len({node.ledger.proofs_print() for node in everybody[:3]}) == 1, "both branches are kept by all who keep any"


async def test_two_halves_that_were_told_two_stories_find_out_when_they_meet(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh(seed=4, calm=False) as mesh:
        everybody = await village(mesh)
        _, w1, w2, _ = everybody
        mesh.partition(("hub", "w1"), ("w2", "asker"))
        cheat, left, right = two_stories(w1, w2)
        await w1.bookkeeping.archivist.take(cheat, wires(left))
        await w2.bookkeeping.archivist.take(cheat, wires(right))
        await trio.sleep(PROVED_S)
        assert not any(node.ledger.forked_at(cheat) for node in everybody)
        mesh.heal()
        await trio.sleep(LINKED_AGAIN_S + PROVED_S)
        assert [node.ledger.forked_at(cheat) for node in everybody] == [3, 3, 3, 3]


async def test_a_lie_about_anothers_chain_convicts_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """A neighbour that answers with an entry that its author never signed."""
    async with virtual_mesh() as mesh:
        _, w1, _, asker = await village(mesh)
        await pictures_of(asker)
        async with outsider(mesh) as liar:
            forged = make_entry(identity("mallory"), NET, 2, bytes(32), now_ms(), kind=255, data=())
            body = forged.body.replace(identity("mallory").public_key, asker.identity.public_key)
            wire = encode((body, forged.sig))

            async def answer(channel: Channel) -> None:
                await channel.receive()
                await channel.send(RangeReply(NET, asker.identity.public_key, 9, (wire,)).encode(), last=True)

            liar.net.serve(PROTOCOL, answer)
            await liar.net.connect(w1.net.addresses()[0])
            w1.bookkeeping.archivist.want(asker.identity.public_key, liar.net.peer_id)
            await trio.sleep(PULL_S)
        assert not w1.ledger.forked_at(asker.identity.public_key)


async def test_an_archivist_that_was_away_catches_up(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        hub, w1, w2, asker = await village(mesh)
        mesh.partition(("hub",), ("w1", "w2", "asker"))
        for _ in range(3):
            assert (await pictures_of(asker)).state == "done"
        mesh.heal()
        await trio.sleep(3 * RECONCILE_S)
        for node in (w1, w2, asker):
            assert hub.ledger.known(node.identity.public_key) == node.ledger.head()
        assert hub.ledger.balance(asker.identity.public_key).net < 0


async def test_who_means_nothing_to_anybody_gets_little_room(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        hub, *_ = await village(mesh)
        talker = identity("mallory")
        word = Advisory("noise", 0, 1, bytes(32), "", 2, now_ms() + 10**9, b"")
        chain = make_chain(talker, *[word] * (MAX_STRANGER_ENTRIES + 3 * MAX_RANGE_ENTRIES))
        async with outsider(mesh) as mallory:
            mallory.net.serve(PROTOCOL, serving(chain))
            await mallory.net.connect(hub.net.addresses()[0])
            await mallory.show_itself(head_seq=chain[-1].seq, head_id=chain[-1].id)
            await trio.sleep(3 * RECONCILE_S)
        assert MAX_STRANGER_ENTRIES <= hub.ledger.known(talker.public_key).seq < MAX_STRANGER_ENTRIES + 2 * MAX_RANGE_ENTRIES


async def test_who_has_long_asked_and_never_worked_is_served_by_a_worker_that_meets_it_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its chain is longer than what is kept of strangers, and all of it is needed."""
    async with virtual_mesh() as mesh:
        worker, asker = await mesh.worker("w"), await mesh.requester()
        gift = Transfer(bytes(32), 1, 0, b"")
        for _ in range(MAX_STRANGER_ENTRIES + 2 * MAX_RANGE_ENTRIES):
            await asker.ledger.append(gift)
        assert (await pictures_of(asker)).state == "done"
        await trio.sleep(RECONCILE_S)
        assert worker.ledger.known(asker.identity.public_key) == asker.ledger.head()


async def test_a_source_that_says_nothing_does_not_keep_others_waiting(autojump_clock: trio.testing.MockClock) -> None:
    """It claims to hold ever so many chains, all of which would be asked for before the honest one."""

    async def silent(_: Channel) -> None:
        await trio.sleep_forever()

    async with virtual_mesh() as mesh:
        hub = await mesh.add("hub", "hub archivist")
        archivist, chain = hub.bookkeeping.archivist, make_chain(identity("alice"))
        async with outsider(mesh) as liar, outsider(mesh, name="honest") as honest:
            liar.net.serve(PROTOCOL, silent)
            honest.net.serve(PROTOCOL, serving(chain))
            for other in (liar, honest):
                await other.net.connect(hub.net.addresses()[0])
            for number in range(100):
                archivist.heard_head(Frontier(identity(f"nobody {number}").public_key, 9, bytes(32)), liar.net.peer_id)
            archivist.heard_head(Frontier(chain[0].author, 1, chain[0].id), honest.net.peer_id)
            await trio.sleep(2 * PULL_S)
        assert hub.ledger.known(chain[0].author) == chain[0].head


async def test_a_witness_signs_what_it_finds_itself_and_nothing_else(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        hub, _, _, asker = await village(mesh)
        await pictures_of(asker)
        await trio.sleep(RECONCILE_S * 2)
        ledger, key = asker.ledger, asker.identity.public_key
        found = checkpoints.sums(key, ledger.balance(key), ledger.edges())
        honest = checkpoints.question(NET, key, ledger.head(), found)

        async def ask(question: WitnessRequest) -> bytes:
            return await request(asker.net, hub.net.peer_id, PROTOCOL, question.encode())

        note = Witness.decode(await ask(honest))
        assert note.witness == hub.identity.public_key
        await ledger.append(checkpoints.content(honest, [note]))
        for change in ("earned", "spent", "held"):
            wrong = {field: getattr(honest, field) for field in WitnessRequest.__dataclass_fields__}
            wrong[change] += 1
            with pytest.raises(Unreachable):  # the channel ends without an answer
                await ask(WitnessRequest(**wrong))


async def test_an_archivist_that_hears_of_a_fork_first_still_gets_what_stands_below_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with virtual_mesh() as mesh:
        hub, w1, w2, _ = await village(mesh)
        cheat, left, right = two_stories(w1, w2)
        await w1.bookkeeping.archivist.take(cheat, wires(left))
        await w2.bookkeeping.archivist.take(cheat, wires(right))
        await trio.sleep(4 * RECONCILE_S)
        late = await mesh.add("late", "hub archivist")
        await trio.sleep(6 * RECONCILE_S)
        assert late.ledger.forked_at(cheat) == 3
        assert late.ledger.known(cheat) == left[1].head
        assert late.ledger.balance(cheat) == hub.ledger.balance(cheat)
        assert late.ledger.digest() == hub.ledger.digest()


async def test_a_source_that_holds_what_is_pruned_here_is_no_harm(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing can be compared with entries that are not kept any more."""
    async with virtual_mesh() as mesh:
        _, w1, *_ = await village(mesh)
        alice = identity("alice")
        chain = make_chain(alice, *[Transfer(bytes(32), 1, 0, b"")] * 20)
        extend(chain, alice, Checkpoint(20, chain[19].id, 0, 19, 0, bytes(32), ()))
        await w1.bookkeeping.archivist.take(alice.public_key, wires(chain))
        await w1.ledger.prune(alice.public_key, 20)
        async with outsider(mesh) as liar:
            liar.net.serve(PROTOCOL, serving(chain[:10]))
            await liar.net.connect(w1.net.addresses()[0])
            w1.bookkeeping.archivist.want(alice.public_key, liar.net.peer_id)
            await trio.sleep(PULL_S)
        assert not w1.ledger.forked_at(alice.public_key)
        assert w1.ledger.known(alice.public_key) == chain[-1].head


async def test_a_chain_that_is_not_judged_yet_and_denied_already_is_no_harm(tmp_path: Path) -> None:
    """Two histories, the first of them in head mode: there is no evidence before it is judged, and then there is."""
    mallory = identity("mallory")
    chain = make_chain(mallory, *[Transfer(bytes(32), 1, 0, b"")] * 3)
    other = chain[:2]
    extend(other, mallory, Transfer(bytes(32), 2, 0, b""))
    extend(other, mallory, Transfer(bytes(32), 2, 0, b""))
    key, all_nets = mallory.public_key, MemoryMesh()
    async with all_nets.join(mallory) as source, all_nets.join(identity("w")) as net:
        source.serve(PROTOCOL, serving(other))
        await net.connect(source.addresses()[0])
        async with open_ledger(tmp_path, identity("w"), NET, now_ms=now_ms) as ledger:
            archivist = Archivist(net, ledger, Interest(ledger, now_ms, keep_all=True))
            await ledger.add(key, wires(chain), head_mode=True)
            assert not await archivist.compare(source.peer_id, key, 4)
            await ledger.judge_next()
            assert await archivist.compare(source.peer_id, key, 4)
            assert ledger.forked_at(key) == 3


async def test_the_own_chain_is_judged_before_it_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much a backup has lost: head mode would leave the head where it was, and the next entry would fork."""
    monkeypatch.setattr("meshgen.peers.archivist.HEAD_MODE_ENTRIES", 3)
    me, friend, disk, all_nets = identity("w"), identity("friend"), Disk(), MemoryMesh()
    gift = Transfer(friend.public_key, 1, 0, b"")
    async with open_ledger(disk, me, NET, now_ms=now_ms) as ledger:
        backup = disk.copy()
        for _ in range(9):
            await ledger.append(gift)
        chain = [decode_entry(wire) for wire in ledger.entries(me.public_key, 1, 10)]
    async with all_nets.join(friend) as source, all_nets.join(me) as net, open_ledger(backup, me, NET, now_ms=now_ms) as ledger:
        source.serve(PROTOCOL, serving(chain))
        await net.connect(source.addresses()[0])
        await Archivist(net, ledger, Interest(ledger, now_ms)).pull(source.peer_id, me.public_key)
        assert ledger.head() == chain[-1].head
        assert (await ledger.append(gift)).seq == 11


async def test_what_a_person_says_is_known_to_others_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """A tip, then the home is lost: whoever restores an older copy must be told of it."""
    async with virtual_mesh() as mesh:
        hub, w1, _, asker = await village(mesh)
        await pictures_of(asker)
        await trio.sleep(RECONCILE_S)
        tip = await asker.ledger.append(Transfer(w1.identity.public_key, 5, 0, b""))
        await trio.sleep(1)
        assert hub.ledger.known(asker.identity.public_key) == tip.head
