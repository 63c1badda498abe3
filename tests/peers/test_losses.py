"""Workers die, stall, crash and cheat: the pictures arrive all the same, and nothing is debited for what did not."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshgen.engine.fake import FakeEngine, Fault
from meshgen.peers.request import ImageRequest
from tests.peers.virtual import net_mkudos, pictures_of, virtual_mesh


@pytest.mark.parametrize("seed", (1, 2, 3))
async def test_a_worker_dies_in_the_middle(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh(seed) as mesh:
        await mesh.worker("victim", seconds=2)
        survivor, asker = await mesh.worker("survivor", seconds=2), await mesh.requester()
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest(prompt="x", steps=4, count=6))
        await trio.sleep(3)
        victim_id = mesh.nodes["victim"].peer_id
        await mesh.kill("victim")
        await job.wait()
        assert (job.state, len(job.results)) == ("done", 6)
        assert any("went away" in note or "left" in note for note in job.notes)
        by_victim = sum(picture.mkudos for picture in job.results.values() if picture.worker == victim_id)
        await trio.sleep(200)  # the hold of the lost part expires and is released
        assert net_mkudos(asker, asker) == -job.mkudos
        assert net_mkudos(survivor, survivor) == job.mkudos - by_victim
        assert asker.ledger.balance(asker.identity.public_key).held == 0


async def test_a_stalled_worker_is_replaced(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("stuck", seconds=1)
        await mesh.worker("well", seconds=1)
        asker = await mesh.requester()
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest(prompt="x", steps=4, count=4))
        await trio.sleep(0.5)
        mesh.net.stall(mesh.nodes["stuck"].net.peer_id)
        await job.wait()
        assert (job.state, len(job.results)) == ("done", 4)
        assert any("silent" in note for note in job.notes)


@pytest.mark.parametrize("kind", ("crash", "garbage", "wrong_size"))
async def test_a_broken_worker_is_replaced_and_not_paid(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        engine = FakeEngine(seconds_per_picture=1, fail=Fault(kind, at=1))  # type: ignore[arg-type]
        broken = await mesh.add("broken", "worker", engine)
        await mesh.worker("well", seconds=1)
        asker = await mesh.requester()
        job = await pictures_of(asker, count=6)
        assert (job.state, len(job.results)) == ("done", 6)
        assert any("#" in note and "offered again" in note for note in job.notes)
        by_broken = [picture for picture in job.results.values() if picture.worker == broken.peer_id]
        await trio.sleep(10)
        assert net_mkudos(asker, broken) == sum(picture.mkudos for picture in by_broken)
        assert net_mkudos(asker, asker) == -job.mkudos


async def test_a_cancelled_job_has_no_part_that_runs_on(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker, asker = await mesh.worker("well", seconds=5), await mesh.requester()
        assert asker.requester is not None and worker.worker is not None
        job = asker.requester.submit(ImageRequest(prompt="x", steps=4, count=3))
        await trio.sleep(8)
        job.cancel()
        await job.wait()
        assert (job.state, [(part.state, part.why) for part in job.parts]) == ("cancelled", [("lost", "cancelled")])
        await trio.sleep(10)
        assert worker.worker.queued == 0


async def test_nobody_left(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("broken", "worker", FakeEngine(seconds_per_picture=1, fail=Fault("crash", at=0)))
        asker = await mesh.requester()
        job = await pictures_of(asker, count=2)
        assert job.state == "failed"
        assert "failed earlier in this job" in job.error
        assert net_mkudos(asker, asker) == 0


async def test_partition_in_the_middle(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        far, near = await mesh.worker("far", seconds=2), await mesh.worker("near", seconds=2)
        asker = await mesh.requester()
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest(prompt="x", steps=4, count=4))
        await trio.sleep(3)
        mesh.net.partition([{far.net.peer_id}, {near.net.peer_id, asker.net.peer_id}])
        await job.wait()
        assert (job.state, len(job.results)) == ("done", 4)
        mesh.net.heal()
        await trio.sleep(60)
        assert net_mkudos(asker, asker) == -job.mkudos


async def test_a_requester_that_vanishes_owes_what_it_signed(autojump_clock: trio.testing.MockClock) -> None:
    """The worker claims by its last voucher: it loses one picture at most."""
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("w", seconds=2)
        asker = await mesh.requester()
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest(prompt="x", steps=4, count=5, max_mkudos=10**9))
        await trio.sleep(5)  # two pictures are over, or one
        await mesh.kill("asker")
        await trio.sleep(60)
        balance = worker.ledger.balance(worker.identity.public_key)
        price = job.parts[0].mkudos
        assert balance.earned in (price, 2 * price)
        assert worker.worker is not None
        assert worker.worker.queued == 0
