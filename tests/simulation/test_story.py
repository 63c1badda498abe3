"""Twenty seeds; ``make simulate`` tells as many as you like."""

from __future__ import annotations

import pytest

from tests.simulation.story import Story, tell


@pytest.mark.parametrize("seed", range(1, 21))
def test_the_log_comes_right(seed: int) -> None:
    story: Story = tell(seed)
    assert not story.faults, str(story)
    assert story.worst_loss <= 1
    assert story.counts["done"] > 5, "too little happened to say anything"
