"""kill -9 of a worker in the middle of a job: another draws its pictures, what was lost costs nothing, the logs hold."""

from __future__ import annotations

from typing import Any

import pytest

from meshgen.cli.local_mesh import LocalNode, wait_for
from meshgen.ledger.verify import verify_home
from tests.e2e.conftest import Town

COUNT = 12
MOMENTS = {"before its first picture": ("part", {"state": "running"}), "after its first picture": ("arrived", {})}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_is_killed_in_the_middle(town: Town, moment: str) -> None:
    victim, survivor = town.node("first"), town.node("second")
    victim_id, survivor_id = victim.peer_id, survivor.peer_id
    before = {node.name: balance(node) for node in town.mesh.nodes.values()}
    kind, data = MOMENTS[moment]
    try:
        job_id = town.submit(count=COUNT)
        town.await_event(job_id, kind, alias="first#", **data)
        victim.kill()
        job = town.await_job(job_id)
    finally:
        town.launch_worker("first")

    assert (job["state"], job["error"], len(job["results"])) == ("done", "", COUNT)
    lost = next(part for part in job["parts"] if part["state"] == "lost")
    assert lost["worker"] == victim_id
    came, price = by(job, victim_id), lost["mkudos"]
    assert came < set(lost["indices"])
    assert by(job, survivor_id) | came == set(range(COUNT)), "offered again, and drawn by the other"
    told = [note for note in job["notes"] if note.startswith(f"first#{victim_id[-6:]}")]
    assert len(told) == 1
    assert "offered again" in told[0]
    assert "went away" in told[0] or "left" in told[0], "in words"

    after = balance(town.node("requester"))
    assert before["requester"]["balance_mkudos"] - after["balance_mkudos"] == job["mkudos"] == COUNT * price
    held = 0 if came else price * len(lost["indices"])
    assert after["held_mkudos"] - before["requester"]["held_mkudos"] == held, "until it expires, or is closed by a receipt"
    earns(survivor, before["second"], price * len(by(job, survivor_id)))
    for node in town.mesh.nodes.values():
        report = verify_home(node.home)
        assert report.ok, (node.name, report.faults)
        assert report.forks == ()

    town.await_ready("first")
    assert town.node("first").peer_id == victim_id, "the same home is the same peer"
    earns(town.node("first"), before["first"], price * len(came))
    town.await_workers()
    again = town.await_job(town.submit(count=COUNT))
    assert again["state"] == "done"
    assert by(again, victim_id), "it works again"


def balance(node: LocalNode) -> dict[str, int]:
    return dict(node.api.get("/v1/credit/balance"))


def earns(node: LocalNode, before: dict[str, int], mkudos: int) -> None:
    """It learns of what it is owed in time: the receipt is in the payer's chain, which it follows."""
    wait_for(lambda: balance(node)["balance_mkudos"] - before["balance_mkudos"] == mkudos, f"{node.name} to earn {mkudos}", 40)


def by(job: dict[str, Any], worker: str) -> set[int]:
    return {picture["index"] for picture in job["results"] if picture["worker"] == worker}
