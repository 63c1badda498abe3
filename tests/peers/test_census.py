"""Many are counted by few."""

from __future__ import annotations

import random

import pytest

from meshgen.peers.census import FEW, PLACES, SAMPLE, Census


@pytest.mark.parametrize("peers", [0, 1, 20, SAMPLE, 5000, 100_000])
@pytest.mark.parametrize("seed", range(3))
def test_how_many_there_are(peers: int, seed: int) -> None:
    census = Census(seed.to_bytes(32, "big"))
    for _ in range(2):
        for number in range(peers):
            census.hear(f"peer {number}", 1.0)
    assert census.count(0.0) == pytest.approx(peers, rel=0.0 if peers <= SAMPLE else 0.2)
    assert len(census._heard) <= SAMPLE


@pytest.mark.parametrize("left", [FEW - 1, 100, 1500])
@pytest.mark.parametrize("seed", range(3))
def test_who_has_gone_is_forgotten_and_few_are_counted_one_by_one_again(seed: int, left: int) -> None:
    rng = random.Random(seed)
    census = Census(seed.to_bytes(32, "big"))
    for number in range(50_000):
        census.hear(f"peer {number}", 0.0)
    heard = [(now_s + rng.random(), number) for now_s in range(1, 8) for number in range(left)]
    for now_s, number in sorted(heard):
        census.hear(f"peer {number}", now_s)
        if now_s > 2 and rng.random() < 20 / left:
            census.forget(now_s - 2)
            assert census.count(now_s - 2) < 3 * left + 400, (seed, now_s)  # each of a few stands for many at first
            assert now_s < 3 or census.count(now_s - 2) > left / 3, (seed, now_s)
    assert census.count(0.0) == pytest.approx(left, rel=0.0 if left <= SAMPLE else 0.2)


def test_to_count_changes_nothing() -> None:
    census = Census(b"secret")
    for now_s, peers in ((0.0, 3000), (1.0, 100)):
        for number in range(peers):
            census.hear(f"peer {number}", now_s)
    counts = []
    for _ in range(10):
        census.forget(0.5)
        counts.append(census.count(0.5))
    assert len(set(counts)) == 1 and 40 < counts[0] < 200


def test_how_many_lately() -> None:
    census = Census(b"secret")
    for number in range(500):
        census.hear(f"peer {number}", float(number))
    assert [census.count(since_s) for since_s in (0.0, 400.0, 499.5)] == [500, 100, 0]


def test_nobody_chooses_a_place_in_the_sample() -> None:
    """Keys that were made up to crowd one node's sample are any keys to another's."""
    crowded, another = Census(b"one"), Census(b"another")
    first = sorted((f"peer {number}" for number in range(20_000)), key=crowded._place)[:200]
    assert 60 < sum(another._place(peer) < PLACES // 2 for peer in first) < 140
