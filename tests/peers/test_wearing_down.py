"""Peers that break no rule and still wear others down: absurd bids, awards always declined, others' offers cancelled."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshgen.net.port import Channel
from meshgen.protocols.credit import HOLD, decode_entry
from meshgen.protocols.envelope import sign
from meshgen.protocols.job_sides import WorkerSide
from meshgen.protocols.offer import OFFER_PROTOCOL, Bid, Cancel, Refusal
from tests.peers.outsiders import MODEL, FalseWorker, false_worker, outsider
from tests.peers.virtual import NET, pictures_of, virtual_mesh

DAY_MS = 24 * 3600 * 1000


async def declines(worker: FalseWorker, channel: Channel, side: WorkerSide) -> None:
    await channel.send(sign(worker.who, Refusal(NET, side.terms.offer_id, "full", 0)).wire)


@pytest.mark.parametrize("changes", ({"picture_ms": DAY_MS}, {"start_ms": DAY_MS}))
async def test_a_bid_of_a_whole_day_does_not_end_the_job(changes: dict[str, int], autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        async with false_worker(mesh, declines, bid_changes=changes):
            honest = await mesh.worker("honest", seconds=2, worker__max_queue=2)
            asker = await mesh.requester()
            job = await pictures_of(asker, model=MODEL.name, count=4)
            assert (job.state, job.error) == ("done", "")
            assert {picture.worker for picture in job.results.values()} == {honest.peer_id}


async def test_who_always_declines_is_soon_not_asked_any_more(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        async with false_worker(mesh, declines) as false:
            asker = await mesh.requester()
            job = await pictures_of(asker, model=MODEL.name, count=2)
            assert job.state == "failed"
            me = asker.identity.public_key
            log = [decode_entry(wire) for wire in asker.ledger.entries(me, 1, 1000)]
            assert sum(entry.kind == HOLD for entry in log) <= 3
            assert asker.requester is not None
            assert asker.requester._means.market.trust.of(false.peer_id) < 1


async def test_a_stranger_can_not_cancel_anothers_offer(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        worker = await mesh.worker("w")
        async with outsider(mesh, "alice") as alice, outsider(mesh, "eve") as eve:
            offer = alice.offer()
            first = await alice.ask(worker, offer)
            assert isinstance(first.message, Bid)
            for who in (eve, alice):
                async with who.net.open(worker.net.peer_id, OFFER_PROTOCOL) as channel:
                    await channel.send(sign(who.who, Cancel(NET, offer.id)).wire)
                await trio.sleep(1)
                assert worker.worker is not None
                assert (first.id in worker.worker.bidder._bids) is (who is eve)
                assert (await alice.ask(worker, offer)).id == first.id, "one offer, one bid, whatever was cancelled"
