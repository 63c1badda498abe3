"""Twenty seeds; ``make simulate`` tells as many as you like."""

from __future__ import annotations

from functools import cache

import pytest

from tests.simulation.story import Story, tell

SEEDS = range(1, 21)
told = cache(tell)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_log_comes_right(seed: int) -> None:
    story: Story = told(seed)
    assert not story.faults, str(story)
    assert story.worst_loss <= 1
    assert story.counts["done"] > 5, "too little happened to say anything"


def test_one_seed_one_story() -> None:
    one, other = told(3), tell(3)
    assert (one.digest, one.counts, one.worst_loss) == (other.digest, other.counts, other.worst_loss)
