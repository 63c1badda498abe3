from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.soak.soak import Report
from tests.soak.watch import Sample, Usage, growth, oldest

STILL = [Sample(jobs, Usage(100, 20, 3), 1, 1 + jobs // 10, Usage(500, 7, 10)) for jobs in range(40)]


def test_what_stays_as_it_is_does_not_grow() -> None:
    assert list(growth(STILL)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: replace(one, node=replace(one.node, mb=100 + one.jobs)), "the node grew by 29 MB, 0 files, 0 threads"),
        (lambda one: replace(one, node=replace(one.node, files=20 + one.jobs)), "the node grew by 0 MB, 29 files"),
        (lambda one: replace(one, child=Usage(500 + 5 * one.jobs, 7, 10)), "children grew by 145 MB"),
        (lambda one: replace(one, pid=1, child=Usage(500, 7 + one.jobs, 10)), "the oldest child grew by 0 MB, 39 files"),
        (lambda one: replace(one, children=1 + (one.jobs == 20)), "2 children at once"),
    ],
)
def test_what_grows_beyond_its_bound_is_said(change: Callable[[Sample], Sample], said: str) -> None:
    assert any(line.startswith(said) for line in growth([change(one) for one in STILL]))


def test_the_oldest_child_is_the_one_that_was_seen_longest() -> None:
    samples = [*STILL[:15], *(replace(one, pid=9) for one in STILL[15:30]), replace(STILL[30], pid=0, child=None)]
    assert {one.pid for one in oldest(samples)} == {9} and len(oldest(samples)) == 15
    assert oldest([]) == []


def test_a_lost_job_and_a_process_left_behind_are_wrong() -> None:
    report = Report(2)
    report.outcomes["plain", "drawn"] = 1
    report.left_behind = 1
    assert report.wrong == ["1 processes left behind", "1 jobs were never asked"]
