"""Among real processes: one is suspended, is noticed, and comes back; one finds back though the door it came through is shut."""

from __future__ import annotations

import signal
from time import monotonic

import pytest

from meshgen.cli.local_mesh import wait_for
from meshgen.peers.acquaintances_file import PEERS_FILE
from meshgen.peers.pulse_wake import SLEPT_S
from tests.e2e.conftest import PATIENCE_S, WORKERS, Town, workers_seen

COUNT = 12

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system can't suspend a process")


def test_a_suspended_worker_is_noticed_and_comes_back(town: Town) -> None:
    victim = town.node("first")
    victim_id = victim.peer_id
    try:
        job_id = town.submit(count=COUNT)
        town.await_event(job_id, "part", state="running", alias="first#")
        victim.process.send_signal(signal.SIGSTOP)
        asleep_s = monotonic()
        wait_for(lambda: "first" not in workers_seen(town.requester), "the requester to notice", 30)
        job = town.await_job(job_id)
        wait_for(lambda: monotonic() - asleep_s > SLEPT_S + 1, "the victim to have slept for long enough to notice", 30)
    finally:
        victim.process.send_signal(signal.SIGCONT)
    assert (job["state"], len(job["results"])) == ("done", COUNT)
    assert [part["state"] for part in job["parts"] if part["worker"] == victim_id] == ["lost"]
    wait_for(lambda: "this machine slept" in victim.log, "the victim to notice", 30)
    town.await_workers()


def test_a_node_finds_back_though_its_only_door_is_shut(town: Town) -> None:
    town.node("hub").kill()
    try:
        town.node("requester").stop()
        assert (town.node("requester").home / PEERS_FILE).exists()
        town.mesh.start("requester", "requester", requester__bid_wait_s=PATIENCE_S, node__log_level="debug")
        wait_for(lambda: workers_seen(town.requester) == set(WORKERS), "the requester to find back", 30)
        assert town.await_job(town.submit(count=COUNT))["state"] == "done"
        status = town.requester.get("/v1/status")
        assert abs(status["clock"]["skew_ms"]) < 1000
        assert status["clock"]["peers"] == len(WORKERS)
    finally:
        hub = town.start_hub()
    wait_for(lambda: town.requester.get("/v1/status")["connected"] == len(town.mesh.nodes) - 1, "all to be linked", 60)
    assert hub.peer_id in {peer["peer_id"] for peer in town.requester.get("/v1/peers")["peers"]}
