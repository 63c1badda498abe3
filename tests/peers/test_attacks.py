"""What strangers send to everybody: forged and stale offers and adverts, junk on every protocol and topic."""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from meshgen.net.conduct import LIMIT, Fault
from meshgen.net.memory_channel import MemoryChannel
from meshgen.net.port import MAX_GOSSIP_BYTES, MAX_MESSAGE_BYTES, Gossip, NetError, PeerId, request
from meshgen.peers.directory import PRESENCE_PROTOCOL, advert_key, model_key
from meshgen.peers.market import offer_topic
from meshgen.peers.peer import Peer
from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.credit import MAX_HEADS, HeadsRequest, RangeReply, RangeRequest
from meshgen.protocols.credit import PROTOCOL as CREDIT_PROTOCOL
from meshgen.protocols.envelope import sign, unsign
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.offer import BID_PROTOCOL, OFFER_PROTOCOL, Bid, Refusal
from tests.peers.outsiders import MODEL, Outsider, outsider, presence_topic
from tests.peers.virtual import NET, VirtualMesh, identity, net_mkudos, now_ms, pictures_of, virtual_mesh

PROTOCOLS = (OFFER_PROTOCOL, BID_PROTOCOL, JOB_PROTOCOL, PRESENCE_PROTOCOL, CREDIT_PROTOCOL)
EXPECTED_FAULTS = {"Malformed", "Unreachable", "TooLarge", "TooSlowError"}
"""How a handler may end that was told nonsense: its own word for it. Anything else is a bug."""


def junk(seed: int) -> list[bytes]:
    rng = random.Random(seed)
    whole = encode((b"body", bytes(32), bytes(64)))
    return [
        b"",
        b"\x00",
        b"\xc1",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        whole,
        whole[:-1],
        whole + b"\x00",
        encode(tuple(range(5000))),
        bytes(MAX_MESSAGE_BYTES),
        *(rng.randbytes(rng.randrange(1, 2000)) for _ in range(20)),
    ]


def faults(caplog: pytest.LogCaptureFixture) -> set[str]:
    """What handlers raised, as the net's guard logged it."""
    found = [re.search(r"channel was reset: (\w+)", record.getMessage()) for record in caplog.records]
    return {match[1] for match in found if match}


async def works(mesh: VirtualMesh) -> None:
    """An honest job goes through, and its cost is what the logs say."""
    asker = mesh.nodes.get("asker") or await mesh.requester()
    spent = net_mkudos(asker, asker)
    job = await pictures_of(asker, count=2)
    assert (job.state, job.error) == ("done", "")
    await trio.sleep(5)
    assert net_mkudos(asker, asker) == spent - job.mkudos


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_junk_on_every_protocol(
    protocol: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with virtual_mesh() as mesh:
        everybody = [await mesh.add("hub", "hub archivist"), await mesh.worker("worker"), await mesh.requester()]
        async with outsider(mesh) as me:
            for node in everybody:
                for message in junk(1):
                    await say(me, node, protocol, message)
                await say(me, node, protocol, *junk(2))
                await say(me, node, protocol)
            await monster(me, everybody[2 if protocol == BID_PROTOCOL else 1], protocol)
        await works(mesh)
        assert faults(caplog) <= EXPECTED_FAULTS


async def say(me: Outsider, node: Peer, protocol: str, *messages: bytes) -> None:
    try:
        async with me.net.open(node.net.peer_id, protocol) as channel:
            for message in messages:
                await channel.send(message)
            await trio.sleep(0.1)
    except NetError:
        pass  # not served there, or hung up on: both are right


async def monster(me: Outsider, node: Peer, protocol: str) -> None:
    """More than a message may have, past the sender's own check."""
    async with me.net.open(node.net.peer_id, protocol) as channel:
        assert isinstance(channel, MemoryChannel)
        await channel._out.send(bytes(2 * MAX_MESSAGE_BYTES), trio.current_time())
        await trio.sleep(1)


async def test_channels_that_open_and_say_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me, trio.open_nursery() as nursery:

            async def hang(protocol: str) -> None:
                with trio.CancelScope() as scope:
                    scopes.append(scope)
                    async with me.net.open(worker.net.peer_id, protocol):
                        await trio.sleep_forever()

            scopes: list[trio.CancelScope] = []
            for _ in range(50):
                for protocol in (OFFER_PROTOCOL, JOB_PROTOCOL, PRESENCE_PROTOCOL, CREDIT_PROTOCOL):
                    nursery.start_soon(hang, protocol)
            await trio.sleep(30)
            await works(mesh)
            for scope in scopes:
                scope.cancel()
        assert faults(caplog) <= EXPECTED_FAULTS


@pytest.mark.parametrize("topic", (presence_topic(), offer_topic(NET, MODEL.family)))
async def test_junk_on_every_topic_goes_no_further(
    topic: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("worker")
        asker = await mesh.requester()
        async with outsider(mesh) as me:
            known = {signed.peer for signed in asker.directory.adverts()}
            before = mesh.net.counters["gossip refused"]
            sent = [message[:MAX_GOSSIP_BYTES] for message in junk(3)]
            for message in sent:
                await me.net.publish(topic, message)
            for net in list(mesh.net.nets.values()):  # past the publisher's own check
                me.net._pass_on(net, Gossip(topic, me.peer_id, bytes(MAX_GOSSIP_BYTES + 1)), 0)
            await trio.sleep(1)
            assert mesh.net.counters["gossip refused"] >= before + LIMIT / Fault.JUNK  # then it is hung up on
            assert asker.net.conduct.is_shut(me.peer_id) or topic not in asker.net._topics  # type: ignore[attr-defined]
            assert {signed.peer for signed in asker.directory.adverts()} == known
        await works(mesh)
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# -- offers

BAD_OFFERS: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"created_ms": -60_000, "expires_ms": -1000}, "expired"),
    "from the far future": ({"created_ms": 10**9, "expires_ms": 10**9 + 60_000}, "expired"),
    "of another mesh": ({"net": bytes(16)}, "other_mesh"),
    "for other weights": ({"digest": bytes(32)}, "unknown_model"),
    "too large": ({"width": 8192, "height": 8192}, "too_large"),
    "too cheap": ({"max_mkudos": 0}, "price"),
    "for what nobody can": ({"features": ("telepathy",)}, "unsupported"),
}


def times_from_now(changes: dict[str, Any]) -> dict[str, Any]:
    return {key: now_ms() + value if key.endswith("_ms") else value for key, value in changes.items()}


@pytest.mark.parametrize("name", BAD_OFFERS)
async def test_an_offer_that_nobody_should_take(name: str, autojump_clock: trio.testing.MockClock) -> None:
    """Refused on the direct way; and, if it is stale or of another mesh, not even forwarded by gossip."""
    changes, reason = BAD_OFFERS[name]
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        assert worker.worker is not None
        async with outsider(mesh) as me:
            offer = me.offer(**times_from_now(changes))
            answer = await me.ask(worker, offer)
            assert isinstance(answer.message, Refusal)
            assert answer.message.reason == reason
            before = mesh.net.counters["gossip refused"]
            await me.gossip(offer)
            await trio.sleep(1)
            assert (mesh.net.counters["gossip refused"] > before) == (reason in ("expired", "other_mesh"))
        assert worker.worker.tally.bids == 0
        await works(mesh)


async def test_an_offer_is_its_authors_alone(autojump_clock: trio.testing.MockClock) -> None:
    """Sent or gossiped on by another peer in its own name, it gets no answer; nor does a spoilt signature."""
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        assert worker.worker is not None
        async with outsider(mesh) as me, outsider(mesh, "thief") as thief:
            offer = me.offer()
            for wire in (offer.wire, offer.wire[:-1] + bytes([offer.wire[-1] ^ 1])):
                with pytest.raises(NetError):
                    await request(thief.net, worker.net.peer_id, OFFER_PROTOCOL, wire)
                await thief.net.publish(offer_topic(NET, MODEL.family), wire)
            await trio.sleep(1)
            assert (worker.worker.tally.bids, worker.worker.tally.refusals) == (0, 0)
            first, again = await me.ask(worker, offer), await me.ask(worker, offer)
            assert isinstance(first.message, Bid)
            assert first.wire == again.wire, "a replay gets the same bid and no other"
        await works(mesh)


async def test_an_offer_can_not_point_workers_at_a_third_peer(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me, outsider(mesh, "victim") as victim:
            await me.gossip(me.offer(addresses=tuple(victim.net.addresses())))
            await trio.sleep(15)
            assert victim.peer_id not in {link.peer for link in worker.net.links()}
        await works(mesh)


# -- adverts

Forge = Callable[[Outsider, Peer], Awaitable[bytes]]


async def of_somebody_else(me: Outsider, victim: Peer) -> bytes:
    """The victim's name on a body that the forger signed."""
    own, theirs = me.advert(alias="forged"), victim.directory.own
    assert theirs is not None
    return encode((own.message.encode(), theirs.author, own.wire[-64:]))


async def of_another_mesh(me: Outsider, _victim: Peer) -> bytes:
    return me.advert(net=bytes(16)).wire


async def expired(me: Outsider, _victim: Peer) -> bytes:
    return me.advert(expires_ms=now_ms() - 1).wire


async def that_lives_too_long(me: Outsider, _victim: Peer) -> bytes:
    return me.advert(expires_ms=now_ms() + 24 * 3600 * 1000).wire


FORGERIES = (of_somebody_else, of_another_mesh, expired, that_lives_too_long)


@pytest.mark.parametrize("forge", FORGERIES, ids=[forge.__name__ for forge in FORGERIES])
async def test_forged_adverts_are_learned_by_nobody(forge: Forge, autojump_clock: trio.testing.MockClock) -> None:
    """Not from gossip, not as an introduction, not from the table."""
    async with virtual_mesh() as mesh:
        victim, asker = await mesh.worker("victim"), await mesh.requester()
        async with outsider(mesh) as me:
            wire = await forge(me, victim)
            await me.net.publish(presence_topic(), wire)
            await request(me.net, asker.net.peer_id, PRESENCE_PROTOCOL, wire)
            for key in (advert_key(me.peer_id), advert_key(victim.net.peer_id)):
                for net in mesh.net.nets.values():
                    net.values[key] = wire  # as a hostile replica would answer
            await me.net.provide(model_key(NET, "dream"))
            await asker.directory.search("dream")
            await trio.sleep(1)
            assert asker.directory.get(me.peer_id) is None
            known = asker.directory.get(victim.net.peer_id)
            assert known is not None
            assert known.alias == "victim"
        await works(mesh)


async def test_an_old_advert_does_not_come_back(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("worker")
        asker = await mesh.requester()
        async with outsider(mesh) as me:
            old, new = me.advert(alias="old"), me.advert(alias="new", seq=now_ms() + 1)
            for advert in (new, old):
                await me.net.publish(presence_topic(), advert.wire)
                await trio.sleep(0.1)
            known = asker.directory.get(me.peer_id)
            assert known is not None
            assert known.alias == "new"
            with pytest.raises(ValueError, match="refuse"):  # under another peer's key
                await me.net.put_value(advert_key(asker.net.peer_id), new.wire)
        await works(mesh)


async def test_an_introduction_full_of_junk(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("worker")
        async with outsider(mesh) as me:
            answers = iter([b"", b"\xc1", encode((b"junk", 7, ("nested",))), bytes(MAX_MESSAGE_BYTES), encode(7)])

            async def introduce(channel: Any) -> None:
                await channel.receive()
                await channel.send(next(answers, b""))

            me.net.serve(PRESENCE_PROTOCOL, introduce)
            asker = await mesh.requester()
            for _ in range(5):
                await asker.directory.meet(me.peer_id)
        await works(mesh)


# -- credit


async def test_questions_that_ask_for_too_much(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        author = worker.identity.public_key
        async with outsider(mesh) as me:

            async def ask(question: HeadsRequest | RangeRequest) -> bytes:
                return await request(me.net, worker.net.peer_id, CREDIT_PROTOCOL, question.encode())

            everything = RangeReply.decode(await ask(RangeRequest(NET, author, 1, 2**53 - 1)))
            assert len(everything.entries) == everything.head_seq == 1
            assert RangeReply.decode(await ask(RangeRequest(NET, author, 2**53 - 1, 1))).entries == ()
            assert RangeReply.decode(await ask(RangeRequest(NET, bytes(32), 1, 9))).head_seq == 0
            await ask(HeadsRequest(NET, tuple(os.urandom(32) for _ in range(MAX_HEADS))))
            with pytest.raises(NetError):
                await ask(RangeRequest(bytes(16), author, 1, 9))
            with pytest.raises(Malformed):
                HeadsRequest(NET, tuple(os.urandom(32) for _ in range(MAX_HEADS + 1)))
        await works(mesh)
        assert faults(caplog) <= EXPECTED_FAULTS


async def test_a_head_that_promises_more_than_there_is(autojump_clock: trio.testing.MockClock) -> None:
    """An advert claims a long chain; what is pulled is junk, or nothing, for ever: the archivist goes on with others."""
    async with virtual_mesh() as mesh:
        hub = await mesh.add("hub", "hub archivist")
        async with outsider(mesh) as me:
            served = 0

            async def serve(channel: Any) -> None:
                nonlocal served
                served += 1
                question = RangeRequest.decode(await channel.receive() or b"")
                entries = (b"junk",) if served % 2 else ()
                await channel.send(RangeReply(NET, question.author, 2**50, entries).encode())

            me.net.serve(CREDIT_PROTOCOL, serve)
            for seq in range(5):
                await me.show_itself(seq=now_ms() + seq, head_seq=2**50, head_id=bytes(32))
                await trio.sleep(1)
            assert 1 <= served <= 10
            assert hub.ledger.known(me.who.public_key).seq == 0
        await mesh.worker("worker")
        await works(mesh)
        await trio.sleep(60)
        asker = mesh.nodes["asker"]
        assert net_mkudos(hub, asker) == net_mkudos(asker, asker)


async def test_a_requester_whose_log_can_not_be_written_says_so_and_lives(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle: the job fails in words, the node goes on."""
    async with virtual_mesh() as mesh:
        await mesh.worker("w1")
        await mesh.worker("w2")
        asker = await mesh.requester()
        monkeypatch.setattr(
            asker.ledger._log, "_broken", "the credit log can't be written (disk full); free the disk and restart"
        )
        job = await pictures_of(asker, count=4)
        assert job.state == "failed"
        assert "disk full" in job.error
        monkeypatch.setattr(asker.ledger._log, "_broken", "")
        await works(mesh)


def test_the_evidence_of_a_signature_names_its_signer() -> None:
    """What convicts a peer can't be made by another: the author is inside what is signed."""
    advert = sign(identity("a"), Refusal(NET, bytes(32), "full", 0))
    wire = bytearray(advert.wire)
    at = wire.index(advert.author)
    wire[at : at + 32] = identity("b").public_key
    with pytest.raises(Malformed, match="signature"):
        unsign(bytes(wire), Refusal)
    assert PeerId(advert.peer) == identity("a").peer_id
