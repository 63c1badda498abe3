"""Five nodes on five machines, split three to two: both halves go on working, and after the heal all five hold one log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshgen.cli.local_mesh import LocalNode, wait_for
from meshgen.ledger.verify import verify_home
from tests.e2e.conftest import OVER, PATIENCE_S, PICTURE_S
from tests.netns.mesh import SpreadMesh
from tests.netns.world import NoNamespacesError, World, world

HALVES = {"here": ("hub", "worker-here", "asker-here"), "there": ("worker-there", "asker-there")}
WORKERS = {"worker-here", "worker-there"}
START_S, JOB_S, NOTICE_S = 60.0, 60.0, 60.0
MERGE_S = 150.0
"""At most 72 s until the one half dials the other again, then a round of reconciliation with each of two neighbours."""


@pytest.fixture
def places() -> Iterator[World]:
    try:
        with world(*(name for half in HALVES.values() for name in half)) as made:
            yield made
    except NoNamespacesError as error:
        pytest.skip(f"this machine makes no network namespaces: {error}")


@pytest.fixture
def mesh(places: World, tmp_path: Path) -> Iterator[SpreadMesh]:
    """All keep everybody's log, so that one digest is to be expected."""
    mesh = SpreadMesh(tmp_path, "meshgen-split-v0", places)
    try:
        hub = mesh.start("hub", "hub", "archivist")
        for half in HALVES:
            works = {"worker__engine": "fake", "worker__fake_seconds": PICTURE_S}
            mesh.launch(f"worker-{half}", "worker", "archivist", through=hub, **works)
            mesh.launch(f"asker-{half}", "requester", "archivist", through=hub, requester__bid_wait_s=PATIENCE_S)
        mesh.await_ready(*mesh.nodes.values())
        yield mesh
    finally:
        mesh.stop()


def test_two_halves_work_and_merge(mesh: SpreadMesh, places: World) -> None:
    nodes = mesh.nodes
    for half in HALVES:
        await_peers(nodes[f"asker-{half}"], WORKERS)
        assert pictures(nodes[f"asker-{half}"], 4)["state"] == "done"

    places.split(HALVES["there"])
    for half in HALVES:
        job = pictures(nodes[f"asker-{half}"], 2)
        assert (job["state"], job["error"]) == ("done", "")
        assert {picture["worker"] for picture in job["results"]} == {nodes[f"worker-{half}"].peer_id}
    for half, away in (("here", "there"), ("there", "here")):
        for name in HALVES[half]:
            await_loss(nodes[name], {nodes[other].peer_id for other in HALVES[away]})
    assert len(digests(mesh)) > 1

    places.heal()
    wait_for(lambda: len(digests(mesh)) == 1, "one digest at all five", MERGE_S)
    for node in nodes.values():
        assert node.api.get("/v1/credit/verify")["ok"], node.name
    check_logs(mesh)


def check_logs(mesh: SpreadMesh) -> None:
    reports = [verify_home(node.home) for node in mesh.nodes.values()]
    for report in reports:
        assert (report.ok, report.faults, report.forks, report.total) == (True, (), (), 0)
        assert (report.heads, report.balances) == (reports[0].heads, reports[0].balances)
    assert len(reports[0].heads) == len(mesh.nodes)
    earned = {balance.earned for balance in reports[0].balances.values()}
    assert max(earned) > 0


def digests(mesh: SpreadMesh) -> set[str]:
    return {node.api.get("/v1/status")["credit"]["digest"] for node in mesh.nodes.values()}


def await_peers(node: LocalNode, aliases: set[str]) -> None:
    wait_for(lambda: aliases <= {peer["alias"] for peer in known(node)}, f"{node.name} to know {aliases}", START_S)


def await_loss(node: LocalNode, peers: set[str]) -> None:
    """Until it has no link to any of them, not even one that the kernel would take up again."""
    wait_for(
        lambda: not peers & {peer["peer_id"] for peer in known(node) if peer["connected"]}, f"{node.name} to notice", NOTICE_S
    )


def known(node: LocalNode) -> list[dict[str, Any]]:
    return list(node.api.get("/v1/peers")["peers"])


def pictures(node: LocalNode, count: int) -> dict[str, Any]:
    job = node.api.post("/v1/jobs", {"prompt": "a fjord", "steps": 4, "count": count})["id"]
    wait_for(lambda: node.api.get(f"/v1/jobs/{job}")["state"] in OVER, f"{node.name}'s job", JOB_S)
    return dict(node.api.get(f"/v1/jobs/{job}"))
