"""Requesters that cheat: a worker loses one picture at most, and does nothing at all without a valid HOLD."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
import trio.testing

from meshgen.net.port import Channel, Unreachable, request
from meshgen.peers.peer import Peer
from meshgen.protocols.credit import HOLD, RECEIPT, Receipt, make_entry
from meshgen.protocols.envelope import unsign
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.job import Failed, Settled
from meshgen.protocols.job_sides import RequesterSide, ResultArrived
from meshgen.protocols.offer import Refusal
from meshgen.protocols.sealing import seal
from tests.peers.outsiders import Deal, Outsider, outsider
from tests.peers.virtual import NET, VirtualMesh, identity, net_mkudos, now_ms, pictures_of, virtual_mesh


async def serves_others(mesh: VirtualMesh, worker: Peer, spent_before: int = 0) -> None:
    """The worker draws for an honest requester, and is paid by it."""
    asker = mesh.nodes.get("asker") or await mesh.requester()
    job = await pictures_of(asker, count=2)
    assert (job.state, job.error) == ("done", "")
    await trio.sleep(5)
    assert worker.worker is not None
    assert worker.worker.queued == 0
    assert net_mkudos(worker, asker) == net_mkudos(asker, asker) == -job.mkudos - spent_before


# -- awards that don't hold


def without_chain(me: Outsider, deal: Deal) -> Deal:
    """...and nobody answers when the worker asks for it."""
    return remake(me, deal, chain=())


def with_a_gap(me: Outsider, deal: Deal) -> Deal:
    return remake(me, deal, chain=(me.chain[0].wire, me.append(me.hold(deal.offer, deal.bid, 3)).wire))


def with_a_hold_that_pays_too_little(me: Outsider, deal: Deal) -> Deal:
    amount = deal.bid.message.mkudos * 3 - 1
    return me.deal_on(deal.offer, deal.bid, 3, me.append(me.hold(deal.offer, deal.bid, 3, amount=amount)))


def with_a_hold_for_somebody_else(me: Outsider, deal: Deal) -> Deal:
    payee = identity("somebody else").public_key
    return me.deal_on(deal.offer, deal.bid, 3, me.append(me.hold(deal.offer, deal.bid, 3, payee=payee)))


def with_a_hold_that_is_not_signed(me: Outsider, deal: Deal) -> Deal:
    me.chain[-1] = replace(deal.hold, sig=bytes(64))
    return me.deal_on(deal.offer, deal.bid, 3, me.chain[-1])


def with_somebody_elses_hold(me: Outsider, deal: Deal) -> Deal:
    thief = identity("thief")
    hold = me.hold(deal.offer, deal.bid, 3)
    foreign = make_entry(thief, NET, 2, me.chain[0].id, now_ms(), kind=HOLD, data=hold.data())
    return me.deal_on(deal.offer, deal.bid, 3, foreign)


def with_a_hold_on_another_head(me: Outsider, deal: Deal) -> Deal:
    return me.deal_on(deal.offer, deal.bid, 3, me.append(me.hold(deal.offer, deal.bid, 3, payee_head=bytes(32))))


def with_an_entry_that_is_no_hold(me: Outsider, deal: Deal) -> Deal:
    return remake(me, deal, hold_id=me.chain[0].id)


def with_a_forked_chain(me: Outsider, deal: Deal) -> Deal:
    """The worker has entry 2 from the deal; here is another one of that number."""
    del me.chain[1:]
    return me.deal_on(deal.offer, deal.bid, 3)


def with_more_seeds(me: Outsider, deal: Deal) -> Deal:
    return reseal(me, deal, seeds=(1, 2, 3, 4))


def with_another_size(me: Outsider, deal: Deal) -> Deal:
    return reseal(me, deal, width=2048, height=2048)


def with_more_steps(me: Outsider, deal: Deal) -> Deal:
    return reseal(me, deal, steps=1000)


def with_another_model(me: Outsider, deal: Deal) -> Deal:
    return reseal(me, deal, model="another")


def with_other_weights(me: Outsider, deal: Deal) -> Deal:
    return reseal(me, deal, digest=bytes(32))


def with_sealed_junk(me: Outsider, deal: Deal) -> Deal:
    return remake(me, deal, sealed=bytes(300))


def for_more_than_was_bid(me: Outsider, deal: Deal) -> Deal:
    return remake(me, deal, count=8)


def in_another_mesh(me: Outsider, deal: Deal) -> Deal:
    return remake(me, deal, net=bytes(16))


def on_a_bid_that_nobody_made(me: Outsider, deal: Deal) -> Deal:
    return remake(me, deal, bid_id=bytes(32))


def remake(me: Outsider, deal: Deal, **changes: object) -> Deal:
    return replace(deal, award=me.award(deal.offer, deal.bid, deal.hold, deal.order, **changes))


def reseal(me: Outsider, deal: Deal, **changes: object) -> Deal:
    order = replace(deal.order, **changes)  # type: ignore[arg-type]
    return remake(me, deal, sealed=seal(order, deal.bid.message.seal_key, deal.bid.id))


Spoil = Callable[[Outsider, Deal], Deal]
SPOILT: list[tuple[Spoil, str]] = [
    (without_chain, "bad_chain"),
    (with_a_gap, "bad_chain"),
    (with_a_hold_that_pays_too_little, "bad_offer"),
    (with_a_hold_for_somebody_else, "bad_offer"),
    (with_a_hold_that_is_not_signed, "bad_chain"),
    (with_somebody_elses_hold, "bad_chain"),
    (with_a_hold_on_another_head, "bad_offer"),
    (with_an_entry_that_is_no_hold, "bad_chain"),
    (with_more_seeds, "bad_offer"),
    (with_another_size, "bad_offer"),
    (with_more_steps, "bad_offer"),
    (with_another_model, "bad_offer"),
    (with_other_weights, "bad_offer"),
    (with_sealed_junk, "bad_offer"),
    (for_more_than_was_bid, "bad_offer"),
    (in_another_mesh, "bad_offer"),
    (on_a_bid_that_nobody_made, "not_mine"),
]


@pytest.mark.parametrize(("spoil", "reason"), SPOILT, ids=[spoil.__name__ for spoil, _ in SPOILT])
async def test_a_bad_award_is_refused(spoil: Spoil, reason: str, autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me:
            deal = spoil(me, await me.deal(worker))
            assert await me.send_award(worker, deal.award) == reason
            assert worker.worker is not None
            assert worker.worker.tally.jobs == 0
            await serves_others(mesh, worker)
            assert net_mkudos(worker, worker) == -net_mkudos(worker, mesh.nodes["asker"])


async def test_a_good_award_is_taken(autojump_clock: trio.testing.MockClock) -> None:
    """The other tests of this file refuse for the right reason: without the spoiling, the same award is taken."""
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me:
            deal = await me.deal(worker)
            assert await me.send_award(worker, deal.award) == "accepted"
            assert await me.send_award(worker, deal.award) == "not_mine", "an award is taken once"


async def test_an_award_after_its_bid_expired(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me:
            deal = await me.deal(worker)
            await trio.sleep(31)
            assert await me.send_award(worker, deal.award) == "expired"


async def test_an_award_of_a_hold_that_expired(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me:
            first = await me.deal(worker)
            late = me.append(me.hold(first.offer, first.bid, 3, expires_ms=now_ms() + 1000))
            await trio.sleep(2)
            assert await me.send_award(worker, me.deal_on(first.offer, first.bid, 3, late).award) == "bad_hold"


async def test_a_thief_can_not_take_nor_spoil_anothers_bid(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me, outsider(mesh, "thief") as thief:
            deal = await me.deal(worker)
            stolen = thief.deal_on(deal.offer, deal.bid, 3)
            assert await thief.send_award(worker, stolen.award) == "not_mine"
            with pytest.raises(Unreachable):  # the victim's own award, sent on by the thief
                await thief.send_award(worker, deal.award)
            assert await me.send_award(worker, deal.award) == "accepted"


async def test_one_hold_pays_for_one_job(autojump_clock: trio.testing.MockClock) -> None:
    """Two awards on one HOLD: vouchers for both together could not be cashed beyond it."""
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker", worker__max_queue=16)
        async with outsider(mesh) as me:
            first, second = await me.deal(worker), await me.deal(worker)
            again = me.deal_on(second.offer, second.bid, 3, first.hold)
            async with me.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
                await channel.send(first.award.wire)
                await me.receive(channel, first.side())
                assert await me.send_award(worker, again.award) == "bad_hold"
            await trio.sleep(30)
            third = await me.deal(worker)
            after = me.deal_on(third.offer, third.bid, 3, first.hold)
            assert await me.send_award(worker, after.award) == "bad_hold", "also when the first job is over"


async def test_many_awards_at_once_do_not_overfill_the_queue(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker", worker__max_queue=4)
        assert worker.worker is not None
        most, answers = 0, []
        mesh.net.delay_s = (0.01, 0.01)  # all of them at the same instant
        async with outsider(mesh) as me:
            deals = [await me.deal(worker, count=2) for _ in range(8)]

            async def award(deal: Deal) -> None:
                async with me.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
                    await channel.send(deal.award.wire)
                    answers.append(type(await me.receive(channel, deal.side())))
                    await trio.sleep(1)

            async with trio.open_nursery() as nursery:
                for deal in deals:
                    nursery.start_soon(award, deal)
                for _ in range(50):
                    await trio.sleep(0.01)
                    most = max(most, worker.worker.queued)
            assert most <= 4
            assert answers.count(Refusal) == 6


async def test_an_award_on_anothers_open_hold_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """It stands at a number that the awarding peer's own chain does not reach."""
    async with virtual_mesh() as mesh:
        worker, asker = await mesh.worker("w"), await mesh.requester()
        key = asker.identity.public_key
        for number in range(4):
            hold = await asker.ledger.hold(
                bytes([number] * 32), worker.identity.public_key, 9, now_ms() + 60_000, worker.ledger.head()
            )
        await worker.bookkeeping.archivist.take(key, asker.ledger.entries(key, 1, hold.seq))
        async with outsider(mesh) as mallory:
            await mallory.net.connect(worker.net.addresses()[0])
            deal = remake(mallory, await mallory.deal(worker, 1), hold_id=hold.id)
            answer = unsign(await request(mallory.net, worker.net.peer_id, JOB_PROTOCOL, deal.award.wire), Refusal)
            assert answer.message.reason == "bad_hold"


# -- after the award


async def take(me: Outsider, channel: Channel, side: RequesterSide) -> ResultArrived:
    while True:
        event = await me.receive(channel, side)
        if isinstance(event, ResultArrived):
            return event


async def drain(me: Outsider, channel: Channel, side: RequesterSide) -> object:
    """To the job's end; the last thing that the worker said."""
    while not side.ended:
        last = await me.receive(channel, side)
    return last


async def test_a_requester_that_never_signs(autojump_clock: trio.testing.MockClock) -> None:
    """It has one picture for nothing, and no other: the worker stops, says why, and does not draw on."""
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        assert worker.worker is not None
        async with outsider(mesh) as me:
            deal = await me.deal(worker, count=3)
            async with me.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
                await channel.send(deal.award.wire)
                side = deal.side()
                await take(me, channel, side)
                assert await drain(me, channel, side) == Failed("unpaid")
            await trio.sleep(30)
            assert (worker.worker.tally.pictures, worker.worker.tally.unpaid) == (1, 1)
            assert worker.ledger.balance(me.who.public_key).net == 0
            await serves_others(mesh, worker)


async def test_a_requester_that_takes_nothing_keeps_no_device(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its window is full, and stays so: neither progress nor a picture waits for ever."""
    monkeypatch.setattr("meshgen.net.memory_channel.WINDOW_BYTES", 8)
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker", seconds=1)
        assert worker.worker is not None
        async with outsider(mesh) as me:
            deal = await me.deal(worker, count=3)
            async with me.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
                await channel.send(deal.award.wire)
                await trio.sleep(1)
                assert worker.worker.queued == 3
                await trio.sleep(60)
                assert worker.worker.queued == 0
        monkeypatch.undo()
        await serves_others(mesh, worker)


async def test_a_requester_that_signs_and_never_settles(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me:
            deal = await me.deal(worker, count=2)
            async with me.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
                await channel.send(deal.award.wire)
                side = deal.side()
                for _ in range(2):
                    await take(me, channel, side)
                    await channel.send(side.pay(me.who))
                await drain(me, channel, side)
                await trio.sleep(20)
            assert worker.ledger.balance(me.who.public_key).net == -2 * deal.bid.message.mkudos
            assert net_mkudos(worker, worker) == 2 * deal.bid.message.mkudos
            assert worker.ledger.standing(me.who.public_key).claimed > 0
            await serves_others(mesh, worker)


@pytest.mark.parametrize("how", ("too low", "never in its chain", "bill not signed", "forked", "junk"))
async def test_a_receipt_that_does_not_pay_is_answered_by_a_claim(how: str, autojump_clock: trio.testing.MockClock) -> None:
    """Vouchers for two pictures, and then something that looks like a RECEIPT."""
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me:
            deal = await me.deal(worker, count=2)
            price = deal.bid.message.mkudos
            async with me.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
                await channel.send(deal.award.wire)
                side = deal.side()
                await take(me, channel, side)
                low = side.receipt()
                await channel.send(side.pay(me.who))
                await take(me, channel, side)
                full = side.receipt()
                await channel.send(side.pay(me.who))
                await drain(me, channel, side)
                await channel.send(Settled(false_receipt(me, how, low, full)).encode())
            await trio.sleep(60)
            assert worker.ledger.hold_info(deal.hold.id) is not None
            assert net_mkudos(worker, worker) == 2 * price
            await serves_others(mesh, worker)


def false_receipt(me: Outsider, how: str, low: Receipt, full: Receipt) -> bytes:
    last = me.chain[-1]
    match how:
        case "too low":
            return me.append(low).wire
        case "never in its chain":
            return make_entry(me.who, NET, 1000, bytes(32), now_ms(), kind=RECEIPT, data=full.data()).wire
        case "bill not signed":
            return me.append(replace(full, bill_sig=bytes(64))).wire
        case "forked":
            return make_entry(me.who, NET, last.seq, last.prev, now_ms(), kind=RECEIPT, data=full.data()).wire
    return b"junk"


async def test_junk_in_the_middle_of_a_job(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me:
            for junk in (b"", b"\xc1", b"\x91" * 50_000, bytes(1024 * 1024), Settled(b"too early").encode()):
                deal = await me.deal(worker, count=2)
                async with me.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
                    await channel.send(deal.award.wire)
                    await me.receive(channel, deal.side())
                    await channel.send(junk)
                    await trio.sleep(5)
            assert net_mkudos(worker, worker) == 0
            await serves_others(mesh, worker)


async def test_a_voucher_by_somebody_else(autojump_clock: trio.testing.MockClock) -> None:
    """Signed by another key, it is no voucher: the worker stops at this picture."""
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me:
            deal = await me.deal(worker, count=2)
            async with me.net.open(worker.net.peer_id, JOB_PROTOCOL) as channel:
                await channel.send(deal.award.wire)
                side = deal.side()
                await take(me, channel, side)
                good = side.pay(me.who)
                await channel.send(good[:-1] + bytes([good[-1] ^ 1]))
                await trio.sleep(30)
            assert net_mkudos(worker, worker) == 0
            await serves_others(mesh, worker)


async def test_a_chain_that_forks_is_served_no_more(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker")
        async with outsider(mesh) as me:
            first = await me.deal(worker)
            assert await me.send_award(worker, first.award) == "accepted"
            second = with_a_forked_chain(me, await me.deal(worker))
            assert await me.send_award(worker, remake(me, second, chain=tuple(e.wire for e in me.chain)).award) == "bad_chain"
            assert worker.ledger.standing(me.who.public_key).forked
            answer = (await me.ask(worker, me.offer())).message
            assert isinstance(answer, Refusal)
            assert answer.reason == "standing"
            assert worker.ledger.forks()[0].author == me.who.public_key
            await serves_others(mesh, worker)


async def test_who_owes_too_much_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("worker", worker__max_debt_mkudos=1)
        asker = await mesh.requester()
        assert (await pictures_of(asker)).state == "done"
        job = await pictures_of(asker)
        assert job.state == "failed"
        assert "standing" in " ".join([*job.notes, job.error])
        assert net_mkudos(asker, asker) == -net_mkudos(worker, worker)
