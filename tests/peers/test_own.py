"""A peer with an engine draws for its owner too: alone at once, in a mesh together with others, and nobody owes himself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from meshgen.engine.fake import FakeEngine, Fault, fake_model
from meshgen.engine.port import AnyWork, EngineError, EngineEvent
from tests.peers.virtual import net_mkudos, pictures_of, virtual_mesh


async def test_alone(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        alone = await mesh.add("alone", "requester worker", FakeEngine(seconds_per_picture=1))
        job = await pictures_of(alone, count=3, seed=5)
        assert (job.state, job.error, job.mkudos) == ("done", "", 0)
        assert [job.results[index].seed for index in range(3)] == [5, 6, 7]
        assert {picture.worker for picture in job.results.values()} == {alone.peer_id}
        assert alone.ledger.head().seq == 1  # GENESIS: own work is in no log
        assert alone.worker is not None
        assert alone.worker.queued == 0


async def test_together_with_others(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        helper = await mesh.worker("helper", seconds=2)
        owner = await mesh.add("owner", "requester worker", FakeEngine(seconds_per_picture=2))
        job = await pictures_of(owner, count=8)
        drawn = [picture.worker for picture in job.results.values()]
        assert drawn.count(owner.peer_id) >= 3
        assert drawn.count(helper.peer_id) >= 3
        assert job.mkudos == -net_mkudos(owner, owner) > 0


async def test_an_own_engine_that_fails_leaves_it_to_the_mesh(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        helper = await mesh.worker("helper", seconds=2)
        owner = await mesh.add("owner", "requester worker", FakeEngine(seconds_per_picture=1, fail=Fault("crash", at=0)))
        job = await pictures_of(owner, count=4)
        assert job.state == "done"
        assert {picture.worker for picture in job.results.values()} == {helper.peer_id}
        assert any("own engine failed" in note for note in job.notes)


class Refusing(FakeEngine):
    """Finds the work wrongly asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    @asynccontextmanager
    async def run(self, work: AnyWork) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        self.asked += 1
        async with super().run(work):
            raise EngineError("bad_input", "the mask is black everywhere")
        yield


async def test_what_is_asked_wrongly_is_said_once_and_not_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        engine = Refusing()
        alone = await mesh.add("alone", "requester worker", engine)
        job = await pictures_of(alone)
        assert (job.state, engine.asked) == ("failed", 1)
        assert job.error == "0 of 1 pictures arrived: this node can't do that: the mask is black everywhere"


async def test_what_is_too_large_for_the_own_device_is_said(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        alone = await mesh.add("alone", "requester worker", FakeEngine([fake_model(max_pixels=128 * 128)]))
        assert alone.requester is not None
        started = trio.current_time()
        job = await pictures_of(alone, width=512, height=512)
        assert job.state == "failed" and "1 allows at most 128x128 pixels" in job.error
        assert trio.current_time() - started < alone.requester.policy.patience_s, "waiting would not mend it"


async def test_cancelled_own_work_leaves_the_engine_free(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        alone = await mesh.add("alone", "requester worker", FakeEngine(seconds_per_picture=5))
        assert alone.requester is not None
        with trio.move_on_after(2):
            await pictures_of(alone, count=3)
        (job,) = alone.requester.jobs.values()
        job.cancel()
        await job.wait()
        assert job.state == "cancelled"
        assert (await pictures_of(alone)).state == "done"
