"""A job outlives its asker's being cut off for a while; one of a node that never had anybody does not wait for ever."""

from __future__ import annotations

import pytest
import trio

from meshgen.peers.job import Job
from meshgen.peers.patience import CUT_OFF_S
from meshgen.peers.request import ImageRequest
from meshgen.testing.mesh import VirtualMesh, simulate

SEED = 3


@pytest.mark.parametrize(("away_s", "state"), [(CUT_OFF_S / 2, "done"), (CUT_OFF_S * 2, "failed")])
def test_cut_off_in_the_middle_of_a_job(away_s: float, state: str) -> None:
    async def study(mesh: VirtualMesh) -> Job:
        await mesh.worker("first", seconds=5)
        await mesh.worker("second", seconds=5)
        asker = await mesh.requester()
        assert asker.requester
        job = asker.requester.submit(ImageRequest(prompt="a fjord", steps=4, count=8))
        await trio.sleep(8)
        assert job.state == "running"
        mesh.partition(["asker"])
        await trio.sleep(away_s)
        mesh.heal()
        with trio.fail_after(600):
            await job.wait()
        return job

    job = simulate(study, SEED, calm=False)
    assert job.state == state, (SEED, job.error)


def test_nobody_was_ever_there() -> None:
    async def study(mesh: VirtualMesh) -> float:
        asker = await mesh.requester()
        assert asker.requester
        job = asker.requester.submit(ImageRequest(prompt="a fjord", steps=4))
        began = trio.current_time()
        await job.wait()
        assert job.state == "failed"
        return trio.current_time() - began

    assert simulate(study, SEED, calm=False) < CUT_OFF_S
