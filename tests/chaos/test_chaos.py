"""The short form of ``python -m tests.chaos``: five nodes, half a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.story import chaos
from tests.chaos.town import PLANS
from tests.netns.world import NoNamespacesError

NODES = ("hub-one", "hub-two", "worker-far", "both", "asker-one")
SEED = 4
SECONDS = 20.0


@pytest.mark.e2e
def test_every_job_has_an_end_and_every_log_holds(tmp_path: Path) -> None:
    try:
        story = chaos(tmp_path, SEED, SECONDS, {name: PLANS[name] for name in NODES}, gap_s=(1.0, 3.0))
    except NoNamespacesError as error:
        pytest.skip(f"this machine makes no network namespaces: {error}")
    print(story.table)
    assert not story.wrong
    assert sum(tally.ends["pictures"] for tally in story.tallies) > 0
