"""Who is there: presence, introductions, the table; what is stale is dropped."""

from __future__ import annotations

import trio
import trio.testing

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.peers.directory import LIFETIME_MS, PRESENCE_S, advert_key, model_key
from meshgen.peers.request import ImageRequest
from tests.peers.virtual import NET, pictures_of, virtual_mesh


async def test_newcomers_are_introduced_to_everybody(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        names = [(await mesh.worker(f"w{number}")).peer_id for number in range(5)]
        newcomer = await mesh.requester()
        assert {signed.peer for signed in newcomer.directory.adverts()} == set(names)


async def test_who_leaves_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("hub")
        gone = await mesh.worker("gone")
        asker = await mesh.requester()
        assert asker.directory.get(gone.net.peer_id) is not None
        await mesh.kill("gone")
        await trio.sleep(LIFETIME_MS / 1000 + PRESENCE_S)
        assert asker.directory.get(gone.net.peer_id) is None
        assert len(list(asker.directory.adverts())) == 1


async def test_the_table_knows_who_has_a_model(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        worker = await mesh.worker("w")
        asker = await mesh.requester()
        await trio.sleep(PRESENCE_S)
        assert await asker.net.find_providers(model_key(NET, "fake")) == [worker.net.peer_id]
        assert await asker.net.get_value(advert_key(worker.net.peer_id)) is not None
        assert await asker.net.find_providers(model_key(NET, "other")) == []


async def test_a_worker_known_to_the_table_alone_is_found(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        await mesh.worker("w")
        asker = await mesh.requester()
        await trio.sleep(PRESENCE_S)
        asker.directory._adverts.clear()
        asker.directory._is_valid = lambda sender, data: False  # type: ignore[method-assign]
        job = await pictures_of(asker, model="fake")
        assert (job.state, job.error) == ("done", "")


async def test_an_idle_mesh_says_little(autojump_clock: trio.testing.MockClock) -> None:
    """Presence is two messages a minute and peer, whatever the load was."""
    async with virtual_mesh() as mesh:
        heard = []
        mesh.net.trace = lambda event: heard.append(event) if event.kind == "gossip" else None
        await mesh.worker("w")
        asker = await mesh.requester()
        for _ in range(5):
            await pictures_of(asker, count=3)
        before = len(heard)
        await trio.sleep(600)
        assert len(heard) - before <= 2 * (600 / PRESENCE_S + 2)


async def test_who_stops_says_goodbye(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("hub")
        leaver = await mesh.worker("leaver")
        asker = await mesh.requester()
        await mesh.leave("leaver")
        await trio.sleep(3)
        assert asker.directory.get(leaver.net.peer_id) is None


async def test_a_job_sees_the_model_that_a_known_worker_adds(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.add("hub", "hub")
        worker = await mesh.worker("w", worker__models="later")
        asker = await mesh.requester(requester__bid_wait_s=60)
        assert asker.requester is not None
        job = asker.requester.submit(ImageRequest(prompt="x", steps=2, model="later"))
        await trio.sleep(5)
        assert isinstance(worker.engine, FakeEngine)
        worker.engine._models["later"] = fake_model("later")
        await job.wait()
        assert (job.state, job.error) == ("done", "")
