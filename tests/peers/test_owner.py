"""The owner's rules, end to end: what a worker refuses, and what its requester is told."""

from __future__ import annotations

import trio
import trio.testing

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.peers.availability import Availability
from meshgen.peers.job import Job
from meshgen.peers.overseer import Overseer
from meshgen.peers.peer import Peer
from tests.peers.virtual import VirtualMesh, pictures_of, virtual_mesh

Clock = trio.testing.MockClock
DRAWING_S = 30.0


async def pair(mesh: VirtualMesh, seconds: float = 1.0, **worker: object) -> tuple[Peer, Peer]:
    """A worker by these rules, and somebody who asks."""
    return await mesh.worker(
        "worker", seconds, **{f"worker__{name}": value for name, value in worker.items()}
    ), await mesh.requester()


def overseer(node: Peer) -> Overseer:
    assert node.overseer is not None
    return node.overseer


def availability(node: Peer) -> Availability:
    return overseer(node).availability


async def drawn(asker: Peer, prompt: str = "a fox") -> Job:
    return await pictures_of(asker, prompt, model="fake", timeout_s=60)


async def test_a_paused_worker_says_so_and_works_again_later(autojump_clock: Clock) -> None:
    async with virtual_mesh() as mesh:
        worker, asker = await pair(mesh)
        overseer(worker).pause(message="new fan")
        await trio.sleep(30)
        job = await drawn(asker)
        assert job.state == "failed" and "paused" in job.error
        status = worker.status()["worker"]
        assert not status["takes_work"] and status["reasons"][0]["text"] == "paused by the owner: new fan"
        overseer(worker).resume()
        await trio.sleep(30)
        assert (await drawn(asker)).state == "done" and worker.status()["worker"]["takes_work"]


async def test_a_pause_lets_the_running_job_end(autojump_clock: Clock) -> None:
    async with virtual_mesh() as mesh:
        worker, asker = await pair(mesh, DRAWING_S)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pause_soon, worker, False)
            assert (await drawn(asker)).state == "done"


async def test_a_pause_now_stops_it_and_another_worker_takes_over(autojump_clock: Clock) -> None:
    async with virtual_mesh() as mesh:
        worker, asker = await pair(mesh, DRAWING_S)
        await mesh.worker("other", 2 * DRAWING_S)
        await trio.sleep(30)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pause_soon, worker, True)
            job = await pictures_of(asker, model="fake")
        assert job.state == "done" and job.parts[0].state != "done", job.parts
        assert availability(worker).state()["jobs"] == 0 and worker.worker.queued == 0


async def _pause_soon(worker: Peer, now: bool) -> None:
    while not availability(worker).state()["jobs"]:  # noqa: ASYNC110 (a job that begins has no event here)
        await trio.sleep(0.5)
    overseer(worker).pause(now=now)


async def test_another_worker_takes_what_one_refuses(autojump_clock: Clock) -> None:
    async with virtual_mesh() as mesh:
        _, asker = await pair(mesh, refuse_words=["clown"])
        await mesh.worker("other", 5.0)
        await trio.sleep(30)
        assert (await drawn(asker, "a clown")).state == "done"


async def test_friends_only(autojump_clock: Clock) -> None:
    async with virtual_mesh() as mesh:
        friend = await mesh.requester("friend")
        worker, stranger = await pair(mesh, only_friends=True, friends=[friend.peer_id])
        await trio.sleep(30)
        assert "owner's rules" in (await drawn(stranger)).error
        assert (await drawn(friend)).state == "done"
        assert "friends-only" in worker.directory.own.message.policies


async def test_what_is_declined_is_not_offered_and_the_owner_has_it_still(autojump_clock: Clock) -> None:
    async with virtual_mesh() as mesh:
        engine = FakeEngine([fake_model("a"), fake_model("b")], 1.0)
        worker = await mesh.add("both", "worker requester", engine, worker__models=["a"], worker__refuse_words=["clown"])
        asker = await mesh.requester()
        assert [model.name for model in worker.directory.own.message.models] == ["a"]
        assert (await pictures_of(asker, model="b", timeout_s=60)).state == "failed"
        own = await pictures_of(worker, "a clown", model="b")
        assert own.state == "done", own.error


async def test_a_prompt_that_breaks_a_rule_is_refused_and_counted(autojump_clock: Clock) -> None:
    async with virtual_mesh() as mesh:
        worker, asker = await pair(mesh, refuse_words=["clown"], refuse_patterns=["spi+der"])
        refused = [await drawn(asker, prompt) for prompt in ("a Clown", "a spiiider")]
        assert all(job.state == "failed" and "owner's rules" in job.error for job in refused), [job.error for job in refused]
        assert (await drawn(asker, "a fox")).state == "done"
        assert overseer(worker).state()["refused"].keys() == {"word", "pattern 1"}


async def test_demand_brings_another_model_up(autojump_clock: Clock) -> None:
    async with virtual_mesh() as mesh:
        engine = FakeEngine([fake_model("a"), fake_model("b")], 1.0)
        worker, asker = await mesh.add("worker", "worker", engine, worker__models=["TOP 1"]), await mesh.requester()
        await mesh.add("other", "worker", FakeEngine([fake_model("b")], 1.0))
        await trio.sleep(30)
        assert worker.status()["worker"]["models"] == ["a"]
        await pictures_of(asker, model="b", timeout_s=60)
        assert worker.status()["worker"]["models"] == ["b"]
        await trio.sleep(60)
        assert [model.name for model in worker.directory.own.message.models] == ["b"]
