"""kill -9 right before and right after every durable write of a job, on either side: the logs end right all the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from meshgen.cli.faults import NotRunning
from meshgen.cli.local_mesh import LocalMesh, LocalNode, wait_for
from meshgen.ledger.verify import verify_home
from tests.e2e.conftest import OVER, free_port, workers_seen
from tests.e2e.crashing import FUSE_FILE

PICTURES = 2
MAX_WRITES = 8
"""A job of two pictures needs three on the asker's side and two on the worker's."""


class FusedMesh(LocalMesh):
    """Nodes that can be told to kill themselves."""

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "tests.e2e.crashing"]


@dataclass
class Pair:
    """A worker, and a requester that joins through it."""

    mesh: LocalMesh
    port: int

    def launch(self, name: str) -> LocalNode:
        if name == "worker":
            place = f"/ip4/127.0.0.1/tcp/{self.port}"
            return self.mesh.launch(name, "worker", mesh__listen=place, worker__engine="fake", worker__fake_seconds=0.05)
        return self.mesh.launch(name, "requester", through=self.node("worker"), requester__bid_wait_s=0.5)

    def start(self, name: str) -> None:
        self.mesh.await_ready(self.launch(name))

    def node(self, name: str) -> LocalNode:
        return self.mesh.nodes[name]

    def await_worker(self) -> None:
        wait_for(lambda: workers_seen(self.node("asker").api) == {"worker"}, "the asker to know its worker", 30)

    def tally(self) -> dict[str, int]:
        return dict(self.node("worker").api.get("/v1/status")["worker"])

    def balance(self, name: str) -> dict[str, int]:
        return dict(self.node(name).api.get("/v1/credit/balance"))

    def holds(self) -> dict[str, int]:
        """What the asker has set aside for each job that is not over, in mkudos."""
        open_deals = self.node("asker").api.get("/v1/credit/deals?open=held&limit=1000")
        return {deal["entries"][0]: deal["mkudos"] for deal in open_deals["items"]}

    def ask(self) -> str:
        return str(self.node("asker").api.post("/v1/jobs", {"prompt": "a fjord", "steps": 4, "count": PICTURES})["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.node("asker").api.get(f"/v1/jobs/{job_id}"))

    def is_over(self, job_id: str) -> bool:
        return self.job(job_id)["state"] in OVER

    def pictures(self) -> dict[str, Any]:
        job_id = self.ask()
        wait_for(lambda: self.is_over(job_id), "a job", 60)
        return self.job(job_id)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(FusedMesh(tmp_path_factory.mktemp("pair"), "meshgen-crash-v0"), free_port())
    try:
        pair.start("worker")
        pair.start("asker")
        pair.await_worker()
        yield pair
    finally:
        pair.mesh.stop()


@pytest.mark.parametrize(("victim", "writes"), (("asker", 3), ("worker", 2)))
def test_every_point(pair: Pair, victim: str, writes: int) -> None:
    """``writes``: hold, bill, receipt; and a voucher for each picture."""
    survived = list(walk(pair, victim))
    assert len(survived) == 2 * writes, survived


def walk(pair: Pair, victim: str) -> Iterator[str]:
    """The points that a job passes, in order, each survived; until a job passes without reaching the next."""
    for number, moment in product(range(1, MAX_WRITES), ("before", "after")):
        point = f"{moment} {number}"
        before, held_before = {name: pair.balance(name) for name in pair.mesh.nodes}, pair.holds()
        delivered = crash(pair, victim, point)
        if delivered is None:
            return
        pair.start(victim)
        pair.await_worker()
        again = pair.pictures()
        assert (again["state"], len(again["results"])) == ("done", PICTURES), point
        held = sum(mkudos for hold, mkudos in pair.holds().items() if hold not in held_before)
        check(pair, before, held, delivered, again["parts"][0]["mkudos"], point)
        yield point
    raise AssertionError(f"a job of {PICTURES} pictures makes {MAX_WRITES} durable writes")


def crash(pair: Pair, victim: str, point: str) -> int | None:
    """The pictures that were delivered until the victim was killed; None if a job passed without reaching this point."""
    node, tally = pair.node(victim), pair.tally()
    fuse = node.home / FUSE_FILE
    fuse.write_text(point)
    job_id = pair.ask()
    wait_for(lambda: is_dead(node) or is_through(pair, job_id, tally["jobs"]), f"the {victim} to be killed {point}", 60)
    fuse.unlink()
    if not is_dead(node):
        return None
    if victim == "asker":
        wait_for(lambda: pair.tally()["queued"] == 0, "the worker to give up", 60)
        return pair.tally()["pictures"] - tally["pictures"]
    wait_for(lambda: pair.is_over(job_id), "the asker to give up", 60)
    return sum(event.kind == "arrived" for event in pair.node("asker").api.events(job_id, ""))


def is_dead(node: LocalNode) -> bool:
    return node.process.poll() is not None


def is_through(pair: Pair, job_id: str, jobs_before: int) -> bool:
    """On both sides. False if one of them is dead."""
    try:
        return pair.is_over(job_id) and pair.tally()["jobs"] > jobs_before
    except NotRunning:
        return False


def check(pair: Pair, before: dict[str, dict[str, int]], held: int, delivered: int, price: int, point: str) -> None:
    """Now that another job has carried the news: what was delivered is paid, but for one picture at most, and once.

    ``held``: what is set aside for jobs since. What is left of earlier points may end meanwhile.
    """
    spent = pair.balance("asker")["spent_mkudos"] - before["asker"]["spent_mkudos"]
    paid = spent // price - PICTURES
    assert delivered - 1 <= paid <= delivered, (point, paid, delivered)
    assert spent == (paid + PICTURES) * price, point
    assert held in ((0, PICTURES * price) if paid == 0 else (0,)), (point, held, "until it expires")
    wait_for(
        lambda: pair.balance("worker")["earned_mkudos"] - before["worker"]["earned_mkudos"] == spent, f"{point}: its pay", 30
    )
    for node in pair.mesh.nodes.values():
        assert pair.balance(node.name)["contested_mkudos"] == 0, point
        report = verify_home(node.home)
        assert (report.ok, report.faults, report.forks, report.total) == (True, (), (), 0), (point, node.name)
