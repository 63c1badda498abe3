"""The short form of ``python -m tests.netns``: a hub, a machine in each of two homes, a laptop that moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.journey import HOMES, Travellers, build, failures, table, travel
from tests.netns.world import NoNamespacesError, World, world


@pytest.fixture
def places() -> Iterator[World]:
    try:
        with world() as made:
            yield made
    except NoNamespacesError as error:
        pytest.skip(f"this machine makes no network namespaces: {error}")


@pytest.mark.e2e
def test_every_pair_works_for_each_other_wherever_they_are(places: World, tmp_path: Path) -> None:
    try:
        names = build(places, dict.fromkeys(HOMES, 1))
    except NoNamespacesError as error:
        pytest.skip(f"this machine makes no routers: {error}")
    mesh = Travellers(tmp_path, "meshgen-netns-v0", places)
    try:
        journey = travel(mesh, names)
    finally:
        mesh.stop()
    print(table(journey, names))
    assert not failures(journey)
    assert journey.ways["home-1", "laptop"] == "direct"
