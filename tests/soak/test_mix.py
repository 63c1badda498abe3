from __future__ import annotations

from collections import Counter

import pytest

from tests.soak.mix import BLOCK, CALM_EVERY, Story, count, stories

SEED = 3
DEADLY = ("crash", "hang")


def kinds(told: list[Story]) -> Counter[str]:
    return Counter(case.kind for story in told for case in story)


@pytest.mark.parametrize("jobs", [1, BLOCK - 1, 137, 500])
def test_there_are_as_many_jobs_as_were_asked(jobs: int) -> None:
    assert count(stories(jobs, SEED)) == jobs


def test_the_same_seed_tells_the_same_in_another_order_than_others() -> None:
    assert stories(100, SEED) == stories(100, SEED) != stories(100, SEED + 1)
    assert sorted(kinds(stories(100, SEED))) == sorted(kinds(stories(100, SEED + 1)))


def test_faults_happen_all_through_it_but_for_calm_stretches() -> None:
    blocks = [kinds(stories((number + 1) * BLOCK, SEED)) - kinds(stories(number * BLOCK, SEED)) for number in range(10)]
    for number, block in enumerate(blocks):
        calm = number % CALM_EVERY == CALM_EVERY - 1
        assert all(bool(block[kind]) != calm for kind in (*DEADLY, "too large", "file gone")), number
        assert all(block[kind] for kind in ("too many at once", "too large but for tiles", "plain", "cancelled")), number
    assert sum(blocks, Counter())["hang, thrice"] == 3


def test_a_broken_model_belongs_to_one_story() -> None:
    models = Counter(model for story in stories(500, SEED) for model in {case.work.model for case in story})
    shared = {model for model, times in models.items() if times > 1}
    assert shared == {"sd", "sdxl", "unknown"}
