"""A worker that is stopped in the middle of a job ends it first, if its owner lets it."""

from __future__ import annotations

from tests.e2e.conftest import PICTURE_S, Town, is_drawing

COUNT = 4
"""One part: what is not awarded yet when a worker stops goes to another."""


def test_a_worker_is_stopped_in_the_middle(town: Town) -> None:
    town.node("first").stop()
    settings = {"worker__engine": "fake", "worker__fake_seconds": PICTURE_S * 4, "node__drain_s": 60}
    leaving = town.launch("first", "worker", **settings)
    town.await_ready("first")
    town.await_workers()
    try:
        worker = leaving.peer_id
        job_id = town.submit(count=COUNT, workers=[worker])
        town.await_job(job_id, lambda job: is_drawing(job, worker))
        leaving.request_stop()
        job = town.await_job(job_id)
        assert leaving.process.wait(60) == 0
    finally:
        leaving.await_end()
        town.launch_worker("first")
        town.await_ready("first")
    assert (job["state"], len(job["results"])) == ("done", COUNT), job["error"]
    assert {part["state"] for part in job["parts"]} == {"done"}, "nothing was lost, and nothing drawn twice"
    assert "stopping" in leaving.log
    town.await_workers()
