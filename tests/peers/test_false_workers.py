"""Workers that cheat: honest peers draw the pictures, nobody pays for what did not come, and the person is told."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import trio
import trio.testing

from meshgen.engine.fake import FakeEngine
from meshgen.engine.port import Picture, Work
from meshgen.net.memory_channel import MemoryChannel
from meshgen.net.port import MAX_MESSAGE_BYTES, Channel, TooLarge
from meshgen.peers.job import Job
from meshgen.peers.peer import Peer
from meshgen.peers.purchase import Repeats
from meshgen.pictures import text_of, with_text
from meshgen.protocols.codec import encode
from meshgen.protocols.credit import Bill, result_commitment
from meshgen.protocols.envelope import unsign
from meshgen.protocols.job import BillMessage, Done, Progress, ResultStart
from meshgen.protocols.job_sides import WorkerSide
from meshgen.protocols.offer import BID_PROTOCOL, Bid, Offer
from tests.peers.outsiders import MODEL, SIDE, STEPS, FalseWorker, Play, false_worker
from tests.peers.virtual import NET, VirtualMesh, net_mkudos, pictures_of, virtual_mesh

SALT = bytes(16)


async def picture(seed: int = 0) -> bytes:
    work = Work(MODEL.name, "x", "", SIDE, SIDE, STEPS, 5.0, "", (seed,))
    async with FakeEngine().run(work) as events:
        async for event in events:
            if isinstance(event, Picture):
                return event.png
    raise AssertionError("the fake engine draws")


async def send_picture(channel: Channel, side: WorkerSide, index: int, png: bytes) -> None:
    for message in side.result(index, png, SALT, 0):
        await channel.send(message)


async def send_paid_picture(me: FalseWorker, channel: Channel, side: WorkerSide, index: int) -> None:
    """As an honest worker does."""
    await send_picture(channel, side, index, await picture(side.terms.seeds[index]))
    await channel.send(side.bill(me.who))
    voucher = await channel.receive()
    assert voucher is not None
    side.feed(voucher)


# -- plays: what a false worker does with an award


async def bills_without_picture(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    await channel.send(bill_message(me, side, side.terms.mkudos))


async def bills_too_much(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    await send_picture(channel, side, 0, await picture())
    await channel.send(bill_message(me, side, side.terms.mkudos * side.terms.count))


async def bills_for_another_picture(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    """The commitment in the bill is to other bytes than those that were sent."""
    await channel.send(side.accept())
    await send_picture(channel, side, 0, await picture())
    await channel.send(bill_message(me, side, side.terms.mkudos, hashlib.sha256(b"another").digest()))


async def sends_other_bytes_than_announced(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    start, *chunks = side.result(0, await picture(), SALT, 0)
    await channel.send(start)
    for chunk in chunks:
        await channel.send(chunk[:-1] + bytes([chunk[-1] ^ 1]))


async def sends_no_picture_of_this_size(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    await send_picture(channel, side, 0, (await picture())[:60])  # PNG's first bytes, and then nothing
    await channel.send(side.bill(me.who))
    await channel.receive()


async def sends_more_than_awarded(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    start = ResultStart(side.terms.count, 0, 100, bytes(32), SALT, 0)
    await channel.send(start.encode())


async def announces_a_monster(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    await channel.send(ResultStart(0, side.terms.seeds[0], 64 * 1024 * 1024, bytes(32), SALT, 0).encode())


async def is_done_at_once(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    await channel.send(Done(0).encode())


async def sends_junk(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    await channel.send(b"\xc1 junk")


async def nests_deep(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(b"\x91" * 100_000)


async def sends_a_monster(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    """More than a channel may carry, which its own net would not let it send."""
    await channel.send(side.accept())
    assert isinstance(channel, MemoryChannel)
    await channel._out.send(bytes(MAX_MESSAGE_BYTES + 1), trio.current_time())
    await trio.sleep(1)


async def accepts_and_is_silent(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    await trio.sleep_forever()


async def says_nothing_at_all(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await trio.sleep_forever()


async def makes_progress_for_ever(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    while True:
        await channel.send(side.progress(0, 1))
        await trio.sleep(1)


async def tells_the_same_as_fast_as_it_can(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    while True:
        await channel.send(*(side.progress(0, 1) for _ in range(100)))
        await trio.sleep(0.01)


async def closes_at_once(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())


def bill_message(me: FalseWorker, side: WorkerSide, amount: int, sha256: bytes = bytes(32)) -> bytes:
    agreed = side.terms
    result = result_commitment([(SALT, sha256)])
    bill = Bill(NET, agreed.job, agreed.hold_id, agreed.payer, agreed.payee, amount, result).sign(me.who)
    return BillMessage(bill.encode()).encode()


@pytest.fixture
def strict_receive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The in-memory net looks at sizes where it sends; the real one also where it receives."""
    plain = MemoryChannel.receive

    async def receive(self: MemoryChannel) -> bytes | None:
        message = await plain(self)
        if message is not None and len(message) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"the peer announced a message of {len(message)} bytes; the limit is {MAX_MESSAGE_BYTES}")
        return message

    monkeypatch.setattr(MemoryChannel, "receive", receive)


async def job_with(mesh: VirtualMesh, *false: FalseWorker, count: int = 4, **fields: Any) -> tuple[Peer, Peer, Job]:
    """An honest worker and a requester beside the false ones, and the requester's job, done."""
    honest, asker = await mesh.worker("honest"), await mesh.requester()
    for one in false:
        await one.show_itself()
    await trio.sleep(0.5)
    return honest, asker, await pictures_of(asker, count=count, **fields)


PLAYS: list[tuple[Play, str]] = [
    (bills_without_picture, "broke the protocol"),
    (bills_too_much, "bill.amount"),
    (bills_for_another_picture, "bill.result"),
    (sends_other_bytes_than_announced, "other bytes than announced"),
    (sends_no_picture_of_this_size, "cut off"),
    (sends_more_than_awarded, "pictures were awarded"),
    (announces_a_monster, "are the most"),
    (is_done_at_once, "0 of 4 arrived"),
    (sends_junk, "broke the protocol"),
    (nests_deep, "broke the protocol"),
    (sends_a_monster, "limit is"),
    (accepts_and_is_silent, "silent for 10 s"),
    (says_nothing_at_all, "silent for 10 s"),
    (makes_progress_for_ever, "is late"),
    (tells_the_same_as_fast_as_it_can, "the same progress over and over"),
    (closes_at_once, "left before it was done"),
]


@pytest.mark.usefixtures("strict_receive")
@pytest.mark.parametrize(("play", "words"), PLAYS, ids=[play.__name__ for play, _ in PLAYS])
async def test_a_false_worker_gets_nothing(play: Play, words: str, autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        first = await mesh.add("hub", "hub")
        async with false_worker(mesh, play) as false:
            honest, asker, job = await job_with(mesh, false)
            assert (job.state, job.error, len(job.results)) == ("done", "", 4)
            assert false.awards == 1, "it was awarded once, and not again after it had failed"
            assert any(words in note and "offered again" in note for note in job.notes), job.notes
            assert {picture.worker for picture in job.results.values()} == {honest.peer_id}
            assert asker.ledger.balance(false.who.public_key).net == 0
            assert asker.requester is not None
            assert asker.requester._means.market.trust.of(false.peer_id) < 1
            await trio.sleep(300)  # the lost part's hold expires
            assert asker.ledger.balance(asker.identity.public_key).held == 0
            assert net_mkudos(asker, asker) == -job.mkudos
            assert first.directory.own is not None, "the mesh goes on"


async def one_good_then_bills_double(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    await send_paid_picture(me, channel, side, 0)
    await send_picture(channel, side, 1, await picture(side.terms.seeds[1]))
    await channel.send(bill_message(me, side, side.terms.mkudos * 4))


async def one_good_and_again_the_same(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(side.accept())
    await send_paid_picture(me, channel, side, 0)
    await send_picture(channel, side, 1, await picture(side.terms.seeds[0]))
    await channel.send(side.bill(me.who))
    await channel.receive()


@pytest.mark.parametrize("play", (one_good_then_bills_double, one_good_and_again_the_same))
async def test_what_came_before_the_lie_is_paid_and_no_more(play: Play, autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh, false_worker(mesh, play, mkudos=7) as false:
        _honest, asker, job = await job_with(mesh, false)
        assert (job.state, len(job.results)) == ("done", 4)
        assert [picture.worker for picture in job.results.values()].count(false.peer_id) == 1
        assert asker.ledger.balance(false.who.public_key).net == 7
        assert net_mkudos(asker, asker) == -job.mkudos


async def test_who_was_paid_and_never_says_done_keeps_nothing_back(autojump_clock: trio.testing.MockClock) -> None:
    async def breathes_on(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
        await channel.send(side.accept())
        for index in range(side.terms.count):
            await send_paid_picture(me, channel, side, index)
        while True:
            await channel.send(side.progress(0, 1))
            await trio.sleep(1)

    async with virtual_mesh() as mesh, false_worker(mesh, breathes_on) as false:
        began = trio.current_time()
        _, asker, job = await job_with(mesh, false)
        assert (job.state, {picture.worker for picture in job.results.values()}) == ("done", {false.peer_id})
        assert trio.current_time() - began < 10
        assert net_mkudos(asker, asker) == -job.mkudos


# -- bids


async def must_not_be_awarded(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    raise AssertionError("it must not be awarded anything")


class Contradictor(FalseWorker):
    """Answers each offer twice at once: by a channel of its own, and then as it was asked to."""

    async def answer(self, channel: Channel) -> None:
        offer = unsign(await channel.receive() or b"", Offer)
        await trio.sleep(self.wait_s)
        async with self.net.open(channel.peer, BID_PROTOCOL) as other:
            await other.send(self.bid(offer, count=1, mkudos=1).wire)
            await channel.send(self.bid(offer, count=1, mkudos=9).wire)

    wait_s = 0.05


class Slowpoke(FalseWorker):
    """Bids when everything is over; until then the requester waits a little for it."""

    async def answer(self, channel: Channel) -> None:
        await trio.sleep(20)


async def test_two_different_bids_to_one_offer(autojump_clock: trio.testing.MockClock) -> None:
    """Both signed, both kept as evidence, neither counted."""
    async with (
        virtual_mesh() as mesh,
        false_worker(mesh, must_not_be_awarded, kind=Contradictor) as false,
        false_worker(mesh, must_not_be_awarded, "slowpoke", kind=Slowpoke) as slow,
    ):
        honest, asker, job = await job_with(mesh, false, slow)
        assert (job.state, {picture.worker for picture in job.results.values()}) == ("done", {honest.peer_id})
        assert false.awards == 0
        assert_convicted(asker, false)
        assert net_mkudos(asker, asker) == -job.mkudos


async def test_a_second_bid_that_comes_too_late_convicts_all_the_same(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh, false_worker(mesh, closes_at_once) as false:
        _honest, asker, job = await job_with(mesh, false)
        offer, bid = next(iter(false._bids.values()))
        for other in (bid, false.bid(offer, mkudos=11)):
            async with false.net.open(asker.net.peer_id, BID_PROTOCOL) as channel:
                await channel.send(other.wire)
        await trio.sleep(1)
        assert_convicted(asker, false)
        assert job.state == "done"


def assert_convicted(asker: Peer, false: FalseWorker) -> None:
    assert asker.requester is not None
    market = asker.requester._means.market
    assert market.trust.experience(false.peer_id).lied == 1
    first, second = (unsign(wire, Bid) for wire in market.evidence[false.peer_id])
    assert first.peer == second.peer == false.peer_id
    assert first.message.offer_id == second.message.offer_id
    assert first.message != second.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seal_key": bytes(32)}, "seal_key"),  # a low-order point: whatever is sealed to it can be read by anybody
        ({"digest": bytes(32)}, "work.digest"),
        ({"count": 64}, None),
        ({"mkudos": 2**30}, None),
        ({"expires_ms": 1}, None),
        ({"start_ms": 24 * 3600 * 1000, "picture_ms": 24 * 3600 * 1000}, None),
        ({"net": bytes(16)}, None),
        ({"offer_id": bytes(32)}, None),
        ({"known_seq": 2**40}, None),
        ({"head_seq": 2**53 - 1}, None),
    ],
    ids=str,
)
async def test_bids_with_false_figures(
    changes: dict[str, Any], words: str | None, autojump_clock: trio.testing.MockClock
) -> None:
    async with virtual_mesh() as mesh, false_worker(mesh, closes_at_once, bid_changes=changes) as false:
        _honest, asker, job = await job_with(mesh, false)
        assert (job.state, job.error, len(job.results)) == ("done", "", 4)
        if words:
            assert any(words in note for note in job.notes), job.notes
        assert asker.ledger.balance(false.who.public_key).net == 0
        assert net_mkudos(asker, asker) == -job.mkudos


async def test_replayed_bids_are_ignored(autojump_clock: trio.testing.MockClock) -> None:
    """An older offer's bid, one signed by another peer, one after its expiry: none of them is anything to the market."""
    async with virtual_mesh() as mesh, false_worker(mesh, closes_at_once) as false, false_worker(mesh, None, "thief") as thief:
        honest, asker, job = await job_with(mesh, false)
        assert asker.requester is not None
        market, old = asker.requester._means.market, list(false._bids.values())
        before = market.ignored
        for sender in (false, thief):
            for _offer, bid in old:
                async with sender.net.open(asker.net.peer_id, BID_PROTOCOL) as channel:
                    await channel.send(bid.wire)
        await trio.sleep(1)
        assert market.ignored == before + 2 * len(old)
        assert market.trust.experience(thief.peer_id).lied == 0, "others' bids are no word of its own"
        again = await pictures_of(asker, count=2)
        assert again.state == "done"
        assert thief.awards == 0
        await trio.sleep(5)
        assert net_mkudos(asker, asker) == -job.mkudos - again.mkudos
        assert honest.ledger.balance(honest.identity.public_key).net == job.mkudos + again.mkudos


async def test_a_false_worker_can_not_speak_in_the_metadata(autojump_clock: trio.testing.MockClock) -> None:
    """It knows the prompt; a private picture must not carry it, nor its word for the requester's."""

    async def play(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
        await channel.send(side.accept())
        said = {"parameters": "the secret prompt", "meshgen": '{"worker": "somebody else"}', "comment": "the secret prompt"}
        await send_picture(channel, side, 0, with_text(await picture(side.terms.seeds[0]), said))
        await channel.send(side.bill(me.who))
        side.feed(await channel.receive() or b"")
        await channel.send(side.done())
        await channel.receive()

    async with virtual_mesh() as mesh, false_worker(mesh, play) as false:
        _honest, _asker, job = await job_with(mesh, false, count=1, private=True)
        assert job.results[0].worker == false.peer_id
        text = text_of(job.results[0].data)
        assert b"the secret prompt" not in job.results[0].data
        assert false.peer_id in text["meshgen"]
        assert text.keys() == {"parameters", "meshgen"}


async def test_a_flood_of_progress_and_of_bids(autojump_clock: trio.testing.MockClock) -> None:
    async def flood(me: FalseWorker, channel: Channel, side: WorkerSide) -> None:
        await channel.send(side.accept())
        for step in range(2000):
            await channel.send(Progress(0, step % STEPS, STEPS).encode())

    async with virtual_mesh() as mesh, false_worker(mesh, flood) as false:
        _honest, asker, job = await job_with(mesh, false)
        assert (job.state, len(job.results)) == ("done", 4)
        async with false.net.open(asker.net.peer_id, BID_PROTOCOL) as channel:
            await channel.send(encode((b"", b"", b"")))
        assert (await pictures_of(asker)).state == "done"


def test_progress_may_repeat_itself_as_a_sign_of_life_and_for_a_second_pass() -> None:
    repeats = Repeats(40, 0.0)
    told = [(index, step) for _ in range(2) for index in (0, 1) for step in range(1, 21)]
    assert all(repeats.bear(Progress(index, step, 20), 1.0) for index, step in told)
    assert all(repeats.bear(Progress(1, 20, 20), 1.0 + 3 * number) for number in range(1000)), "each three seconds"
    assert all(repeats.bear(Progress(1, 20, 20), 4000.0) for _ in range(1000)), "those that were late come together"
    assert not all(repeats.bear(Progress(1, 20, 20), 4000.0) for _ in range(20_000))
