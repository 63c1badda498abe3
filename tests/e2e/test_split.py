"""Five nodes on five machines, split three to two: both halves go on working, and after the heal all five hold one log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshgen.cli.local_mesh import LocalNode, wait_for
from meshgen.ledger.verify import verify_home
from tests.e2e.conftest import OVER, PATIENCE_S, PICTURE_S
from tests.e2e.netns import Machines, NoNamespacesError, SpreadMesh, machines

HERE = ("hub", "left-worker", "left-asker")
THERE = ("right-worker", "right-asker")
ALL = HERE + THERE
NOTICED_S, HEALED_S = 60.0, 120.0


@pytest.fixture
def places() -> Iterator[Machines]:
    try:
        with machines(*ALL) as made:
            yield made
    except NoNamespacesError as error:
        pytest.skip(f"this machine makes no network namespaces: {error}")


@pytest.fixture
def mesh(places: Machines, tmp_path: Path) -> Iterator[SpreadMesh]:
    mesh = SpreadMesh(tmp_path, "meshgen-split-v0", places)
    try:
        hub = mesh.start("hub", "hub", "archivist")
        for name in ("left-worker", "right-worker"):
            mesh.launch(name, "worker", "archivist", through=hub, worker__engine="fake", worker__fake_seconds=PICTURE_S)
        for name in ("left-asker", "right-asker"):
            mesh.launch(name, "requester", "archivist", through=hub, requester__bid_wait_s=PATIENCE_S)
        mesh.await_ready(*mesh.nodes.values())
        yield mesh
    finally:
        mesh.stop()


def test_two_halves_work_and_merge(mesh: SpreadMesh, places: Machines) -> None:
    nodes = mesh.nodes
    ids = {name: node.peer_id for name, node in nodes.items()}
    for asker in ("left-asker", "right-asker"):
        wait_for(lambda: workers_known(nodes[asker]) == 2, f"{asker} to know both workers", 30)  # noqa: B023
        assert pictures(nodes[asker], 4)["state"] == "done"

    places.split(THERE)
    for asker, worker in (("left-asker", "left-worker"), ("right-asker", "right-worker")):
        job = pictures(nodes[asker], 2)
        assert (job["state"], job["error"]) == ("done", "")
        assert {picture["worker"] for picture in job["pictures"]} == {ids[worker]}
    for name in ("right-worker", "right-asker"):
        wait_for(lambda: ids["hub"] not in links(nodes[name]), f"{name} to notice", NOTICED_S)  # noqa: B023
    assert view(nodes["left-asker"], ids) != view(nodes["right-asker"], ids)

    places.heal()
    try:
        wait_for(lambda: len({view(node, ids) for node in nodes.values()}) == 1, "one log at all five", HEALED_S)
    finally:
        for name, node in nodes.items():
            print(name, view(node, ids))
    shown = dict(view(nodes["hub"], ids))
    assert sum(balance for balance, _held, _head in shown.values()) == 0
    assert sum(abs(balance) for balance, _held, _head in shown.values()) > 0
    for node in nodes.values():
        report = verify_home(node.home)
        assert (report.ok, report.faults, report.forks) == (True, (), ()), node.name


def workers_known(node: LocalNode) -> int:
    return sum(bool(peer["models"]) for peer in node.api.get("/v1/peers")["peers"])


def links(node: LocalNode) -> set[str]:
    return {peer["peer_id"] for peer in node.api.get("/v1/peers")["peers"] if peer["connected"]}


def pictures(node: LocalNode, count: int) -> dict[str, Any]:
    job = node.api.post("/v1/jobs", {"prompt": "a fjord", "steps": 4, "count": count})["id"]
    wait_for(lambda: node.api.get(f"/v1/jobs/{job}")["state"] in OVER, f"{node.name}'s job", 60)
    return dict(node.api.get(f"/v1/jobs/{job}"))


def view(node: LocalNode, ids: dict[str, str]) -> tuple[tuple[str, tuple[int, int, str]], ...]:
    """Everybody's balance, what is held, and the last entry, as this node has them."""
    return tuple((name, _view_of(node, peer)) for name, peer in ids.items())


def _view_of(node: LocalNode, peer: str) -> tuple[int, int, str]:
    balance = node.api.get("/v1/credit/balance", peer=peer)
    entries = node.api.get("/v1/credit/log", peer=peer, limit=1000)["entries"]
    return balance["balance_mkudos"], balance["held_mkudos"], entries[-1]["id"] if entries else ""
