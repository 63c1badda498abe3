"""A prompt becomes pictures on other peers, and the credit follows: the whole exchange on the in-memory mesh."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.peers.request import ImageRequest, RequestError
from meshgen.pictures import text_of
from tests.peers.virtual import net_mkudos, pictures_of, virtual_mesh

SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
async def test_nine_pictures_by_two_workers(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh(seed) as mesh:
        first, second = await mesh.worker("w1"), await mesh.worker("w2")
        asker = await mesh.requester()
        job = await pictures_of(asker, count=9, seed=100)
        assert (job.state, job.error) == ("done", "")
        assert sorted(job.results) == list(range(9))
        assert [job.results[index].seed for index in range(9)] == list(range(100, 109))
        assert {picture.worker for picture in job.results.values()} == {first.peer_id, second.peer_id}
        await trio.sleep(5)
        spent = job.mkudos
        assert spent > 0
        assert net_mkudos(asker, asker) == -spent
        assert net_mkudos(first, first) + net_mkudos(second, second) == spent


async def test_a_picture_says_where_it_comes_from(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker, asker = await mesh.worker("w"), await mesh.requester()
        job = await pictures_of(asker, prompt="a lighthouse", negative_prompt="fog", seed=7)
        text = text_of(job.results[0].data)
        assert text["parameters"].startswith("a lighthouse\nNegative prompt: fog\nSteps: 4")
        assert "Seed: 7" in text["parameters"]
        assert worker.peer_id in text["meshgen"]
        assert job.results[0].receipt in text["meshgen"]


async def test_private_leaves_the_prompt_out(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("w")
        asker = await mesh.requester()
        job = await pictures_of(asker, prompt="a lighthouse", private=True)
        assert b"lighthouse" not in job.results[0].data
        asker = await mesh.requester("shy", requester__private=True)
        job = await pictures_of(asker, prompt="a lighthouse")
        assert b"lighthouse" not in job.results[0].data


async def test_the_faster_worker_draws_more(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        fast, slow = await mesh.worker("fast", seconds=1), await mesh.worker("slow", seconds=4)
        job = await pictures_of(await mesh.requester(), count=8)
        drawn = [picture.worker for picture in job.results.values()]
        assert drawn.count(fast.peer_id) >= 6
        assert drawn.count(slow.peer_id) >= 1


async def test_the_archivist_holds_every_chain(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        hub = await mesh.add("hub", "hub archivist")
        worker, asker = await mesh.worker("w"), await mesh.requester()
        job = await pictures_of(asker, count=2)
        await trio.sleep(40)
        assert net_mkudos(hub, asker) == -job.mkudos
        assert net_mkudos(hub, worker) == job.mkudos
        assert sum(balance.net for balance in hub.ledger.balances().values()) == 0


async def test_many_jobs_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        for name in ("w1", "w2", "w3"):
            await mesh.worker(name, seconds=0.1, worker__max_queue=64)
        asker = await mesh.requester()
        assert asker.requester is not None
        jobs = [asker.requester.submit(ImageRequest(prompt="x", steps=2)) for _ in range(40)]
        for job in jobs:
            await job.wait()
        assert [job.error for job in jobs if job.state != "done"] == []
        assert net_mkudos(asker, asker) == -sum(job.mkudos for job in jobs)


# -- why there is no picture


@pytest.mark.parametrize(
    ("settings", "request_fields", "words"),
    [
        ({"worker__max_pixels": 64 * 64}, {"width": 512, "height": 512}, "1 allows at most 64x64 pixels"),
        ({"worker__max_steps": 10}, {"steps": 50}, "1 allows at most 10 steps"),
        ({"worker__price_permille": 9000}, {"max_mkudos": 100}, "1 asks at least"),
        ({}, {"model": "dall-e"}, "no worker in the mesh offers the model 'dall-e'"),
    ],
)
async def test_nobody_can(
    settings: dict[str, int], request_fields: dict[str, object], words: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("w", **settings)
        asker = await mesh.requester()
        job = await pictures_of(asker, **request_fields)
        assert job.state == "failed"
        assert words in job.error
        assert net_mkudos(asker, asker) == 0


async def test_alone_in_the_mesh(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        job = await pictures_of(await mesh.requester())
        assert job.state == "failed"
        assert "no worker" in job.error


async def test_full_workers_are_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("w", seconds=3, worker__max_queue=1)
        asker = await mesh.requester()
        assert asker.requester is not None
        jobs = [asker.requester.submit(ImageRequest(prompt="x", steps=2)) for _ in range(3)]
        for job in jobs:
            await job.wait()
        assert {job.state for job in jobs} == {"done"}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"count": 0}, "n"),
        ({"count": 65}, "n"),
        ({"width": 100}, "width"),
        ({"height": 9000}, "height"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": "x" * 20_000}, "prompt"),
        ({"prompt": "a\x00b"}, "prompt"),
        ({"steps": 0}, "steps"),
        ({"guidance_scale": -1.0}, "guidance_milli"),
    ],
)
async def test_a_request_that_nobody_could_do(fields: dict[str, object], where: str) -> None:
    async with virtual_mesh() as mesh:
        asker = await mesh.requester()
        assert asker.requester is not None
        with pytest.raises(RequestError) as caught:
            asker.requester.submit(ImageRequest(**{"prompt": "fine", **fields}))  # type: ignore[arg-type]
        assert caught.value.field == where


async def test_offers_reach_a_worker_that_nobody_knew(autojump_clock: trio.testing.MockClock) -> None:
    """Gossip alone: the requester has never had the second worker's advert when it makes its offer."""
    async with virtual_mesh() as mesh:
        await mesh.worker("w1", seconds=1, worker__max_count=1, worker__max_queue=1)
        asker = await mesh.requester()
        second = await mesh.add("w2", "worker", FakeEngine([fake_model()], seconds_per_picture=1))
        asker.directory.learn = lambda signed: None  # type: ignore[method-assign]
        asker.directory._adverts.pop(second.net.peer_id, None)
        job = await pictures_of(asker, count=6)
        assert job.state == "done"
        assert second.peer_id in {picture.worker for picture in job.results.values()}


async def test_cancel_keeps_what_arrived(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker = await mesh.worker("w", seconds=2)
        asker = await mesh.requester()
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest(prompt="x", steps=4, count=4))
        await trio.sleep(5)
        job.cancel()
        await job.wait()
        assert job.state == "cancelled"
        assert 1 <= len(job.results) < 4
        await trio.sleep(40)
        assert net_mkudos(asker, asker) == -job.mkudos
        assert worker.worker is not None
        assert worker.worker.queued == 0
