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


@pytest.mark.parametrize("seed", range(3))
def test_who_has_gone_is_forgotten_and_few_are_counted_one_by_one_again(seed: int) -> None:
    rng = random.Random(seed)
    census = Census(seed.to_bytes(32, "big"))
    for number in range(50_000):
        census.hear(f"peer {number}", rng.random())
    for now_s in range(2, 14):
        for number in range(FEW - 1):
            census.hear(f"peer {number}", now_s)
        census.count(now_s - 0.5)
    assert census.count(13.0) == FEW - 1


def test_nobody_chooses_a_place_in_the_sample() -> None:
    """Keys that were made up to crowd one node's sample are any keys to another's."""
    crowded, another = Census(b"one"), Census(b"another")
    first = sorted((f"peer {number}" for number in range(20_000)), key=crowded._place)[:200]
    assert 60 < sum(another._place(peer) < PLACES // 2 for peer in first) < 140
