"""Two peers in two homes, whose routers let nobody in: they meet through a relay, and go on without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshgen.cli.local_mesh import LocalNode, wait_for
from tests.netns.journey import HUB, OVER, Travellers, ask, start, state, workers
from tests.netns.world import NoNamespacesError, World, world

HOMES = ("home", "lab")
WAIT_S = 60.0
JOBS, PICTURES, SIDE = 2, 16, 512
LEFT = 1 / 20
"""What may still go through the relay, of a job's bytes: what was on its way there."""


@pytest.fixture
def places() -> Iterator[World]:
    try:
        with world(HUB) as made:
            for home in HOMES:
                made.site(home)
                made.add(f"{home}-1", home)
            yield made
    except NoNamespacesError as error:
        pytest.skip(f"this machine makes no network namespaces, or no routers: {error}")


def link(node: LocalNode, to: LocalNode) -> dict[str, Any]:
    return next((row for row in node.api.get("/v1/peers")["peers"] if row["peer_id"] == to.peer_id), {})


def is_direct(node: LocalNode, to: LocalNode) -> bool:
    found = link(node, to)
    return bool(found.get("connected")) and not found["relayed"]


def carried(hub: LocalNode) -> int:
    return int(hub.api.get("/v1/status")["reach"]["carried_bytes"])


def drawn(asker: LocalNode, worker: LocalNode) -> int:
    """Bytes of a job's pictures."""
    job = start(asker, [worker.peer_id], count=PICTURES, width=SIDE, height=SIDE)
    wait_for(lambda: state(asker, job)["state"] in OVER, "the pictures", WAIT_S)
    ended = state(asker, job)
    assert len(ended["results"]) == PICTURES, ended
    return sum(int(picture["bytes"]) for picture in ended["results"])


@pytest.mark.e2e
def test_two_homes_go_on_without_the_relay_that_they_met_through(places: World, tmp_path: Path) -> None:
    mesh = Travellers(tmp_path, "meshgen-netns-v0", places)
    try:
        line = mesh.found(HUB)
        for home in HOMES:
            mesh.invite(f"{home}-1", line)
        hub, asker, worker = (mesh.nodes[name] for name in (HUB, "home-1", "lab-1"))
        mesh.await_ready(asker, worker)
        wait_for(lambda: workers(asker) >= {"lab-1"}, "the asker to know the worker", WAIT_S)
        assert ask(asker, [worker.peer_id])["state"] == "done"
        wait_for(lambda: is_direct(asker, worker) and is_direct(worker, asker), "a link of their own", WAIT_S)
        before = carried(hub)
        made = sum(drawn(asker, worker) for _ in range(JOBS))
        assert carried(hub) - before < LEFT * made
    finally:
        mesh.stop()
