"""A worker that is stopped in the middle of a job ends it first, if its owner lets it."""

from __future__ import annotations

from tests.e2e.conftest import PICTURE_S, Town, is_drawing

COUNT = 8


def test_a_worker_is_stopped_in_the_middle(town: Town) -> None:
    town.node("first").stop()
    settings = {"worker__engine": "fake", "worker__fake_seconds": PICTURE_S * 2, "node__drain_s": 60}
    leaving = town.launch("first", "worker", **settings)
    town.await_ready("first")
    town.await_workers()
    try:
        job_id = town.submit(count=COUNT)
        town.await_job(job_id, lambda job: is_drawing(job, leaving.peer_id))
        leaving.request_stop()
        job = town.await_job(job_id)
        assert leaving.process.wait(60) == 0
    finally:
        leaving.await_end()
        town.launch_worker("first")
    assert (job["state"], len(job["results"])) == ("done", COUNT)
    assert [part["state"] for part in job["parts"]] == ["done"] * len(job["parts"]), "nothing was drawn twice"
    assert "stopping" in leaving.log
    town.await_ready("first")
    town.await_workers()
