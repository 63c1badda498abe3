"""kill -9 of a worker in the middle of a job: another draws its pictures, what was lost costs nothing, the logs hold."""

from __future__ import annotations

from meshgen.cli.local_mesh import wait_for
from meshgen.ledger.verify import verify_home
from tests.e2e.conftest import Town, is_drawing

COUNT = 12


def test_a_worker_is_killed_in_the_middle(town: Town) -> None:
    before = town.requester.get("/v1/credit/balance")
    victim, survivor = town.node("first"), town.node("second")
    victim_id, survivor_id = victim.peer_id, survivor.peer_id
    earned_before = survivor.api.get("/v1/credit/balance")["balance_mkudos"]
    try:
        job_id = town.submit(count=COUNT)
        town.await_job(job_id, until=lambda job: is_drawing(job, victim_id))
        victim.kill()
        job = town.await_job(job_id)
    finally:
        town.launch_worker("first")

    assert (job["state"], job["error"], len(job["pictures"])) == ("done", "", COUNT)
    lost = [part for part in job["parts"] if part["state"] == "lost"]
    assert [part["worker"] for part in lost] == [victim_id]
    told = [note for note in job["notes"] if "offered again" in note]
    assert len(told) == 1, job["notes"]
    assert told[0].startswith(f"first#{victim_id[-6:]}"), "in words, and by name"
    assert "went away" in told[0] or "left" in told[0]
    again = [part for part in job["parts"] if part["worker"] == survivor_id and part["state"] == "done"]
    assert {index for part in again for index in part["indices"]} >= set(lost[0]["indices"]) - _by(job, victim_id)

    after = town.requester.get("/v1/credit/balance")
    assert before["balance_mkudos"] - after["balance_mkudos"] == job["mkudos"] == sum(row["mkudos"] for row in job["pictures"])
    price = lost[0]["mkudos"]
    came = len(_by(job, victim_id))
    if not came:
        assert after["held_mkudos"] - before["held_mkudos"] == price * len(lost[0]["indices"]), "held until it expires"
    else:
        assert after["held_mkudos"] == before["held_mkudos"], "the receipt for what came closed the hold"

    expected = earned_before + price * len(_by(job, survivor_id))
    wait_for(
        lambda: survivor.api.get("/v1/credit/balance")["balance_mkudos"] == expected, "the survivor to see what it earned", 20
    )
    for name in ("first", "second", "requester", "hub"):
        report = verify_home(town.node(name).home)
        assert report.ok, (name, report.faults)
        assert report.forks == ()

    town.await_ready("first")
    assert town.node("first").peer_id == victim_id, "the same home is the same peer"
    town.await_workers()
    again_id = town.submit(count=COUNT)
    assert town.await_job(again_id)["state"] == "done"
    assert _by(town.job(again_id), victim_id), "it works again"


def _by(job: dict[str, object], worker: str) -> set[int]:
    pictures = job["pictures"]
    assert isinstance(pictures, list)
    return {picture["index"] for picture in pictures if picture["worker"] == worker}
