"""Scores, what they lead to, and how they are forgiven; token buckets."""

from __future__ import annotations

import math

import pytest

from meshgen.net import conduct
from meshgen.net.conduct import (
    FIRST_S,
    FRIEND_MERIT,
    HALF_LIFE_S,
    LIMIT,
    LONGEST_S,
    MAX_PEERS,
    MET_MERIT,
    Bucket,
    Buckets,
    Conduct,
    Fault,
)
from meshgen.net.port import PeerId

MALLORY, ALICE = PeerId("mallory"), PeerId("alice")


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cut_off(book: Conduct, peer: PeerId = MALLORY) -> None:
    while not book.blame(peer, Fault.MALFORMED):
        pass


def test_faults_add_up_and_time_forgives(clock: Clock) -> None:
    book = Conduct(clock)
    book.blame(MALLORY, 40)
    clock.s += HALF_LIFE_S
    assert book.score(MALLORY) == pytest.approx(20)
    assert not book.is_shut(MALLORY)
    assert book.score(ALICE) == 0


def test_who_errs_now_and_then_is_never_cut_off(clock: Clock) -> None:
    book = Conduct(clock)
    for _ in range(1000):
        assert not book.blame(MALLORY, 2)
        clock.s += 1


def test_too_much_at_once_is_cut_off_and_forgiven_in_time(clock: Clock) -> None:
    book = Conduct(clock)
    cut_off(book)
    assert book.is_shut(MALLORY)
    assert not book.is_shut(ALICE)
    assert not book.blame(MALLORY, LIMIT), "it is cut off once, not with each fault that was under way"
    clock.s += FIRST_S + 1
    assert not book.is_shut(MALLORY)
    assert book.score(MALLORY) == 0


def test_who_comes_to_that_again_stays_out_longer(clock: Clock) -> None:
    book, times = Conduct(clock), []
    for _ in range(10):
        cut_off(book)
        times.append(book.shut_for_s(MALLORY))
        clock.s += times[-1] + 1
    assert times[:4] == pytest.approx([FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S])
    assert times[-1] == pytest.approx(LONGEST_S)
    clock.s += 3 * LONGEST_S
    cut_off(book)
    assert book.shut_for_s(MALLORY) == pytest.approx(FIRST_S)


def test_what_an_owner_decides_holds_whatever_the_score(clock: Clock) -> None:
    book = Conduct(clock)
    book.shut(MALLORY, math.inf)
    book.shut(MALLORY, 10)
    clock.s += 10 * LONGEST_S
    book.sweep()
    book.shut(MALLORY, 0)
    assert book.is_shut(MALLORY)
    book.pardon(MALLORY)
    assert not book.is_shut(MALLORY)
    cut_off(book)
    book.pardon(MALLORY)
    assert not book.is_shut(MALLORY)


def test_fresh_keys_fill_no_memory_and_push_nobody_in(clock: Clock) -> None:
    book = Conduct(clock)
    book.shut(ALICE, math.inf)
    for number in range(3 * MAX_PEERS):
        book.blame(PeerId(f"key {number}"), 1)
        book.thank(PeerId(f"key {number}"), 1)
    assert len(book._records) == MAX_PEERS == len(book._merits)
    assert book.is_shut(ALICE)


def test_what_is_over_is_forgotten(clock: Clock) -> None:
    book = Conduct(clock)
    cut_off(book)
    book.shut(ALICE, 5)
    clock.s += 3 * LONGEST_S
    book.sweep()
    assert not book._records
    assert not book._shut


def test_fresh_keys_push_out_no_friend(clock: Clock) -> None:
    book = Conduct(clock)
    book.thank(ALICE, FRIEND_MERIT)
    for number in range(2 * MAX_PEERS):
        book.thank(PeerId(f"key {number}"), 1)
    assert book.is_friend(ALICE)
    assert len(book._merits) == MAX_PEERS


def test_who_only_stays_is_known_and_no_friend(clock: Clock) -> None:
    book = Conduct(clock)
    book.blame(MALLORY, Fault.JUNK)
    for _ in range(200):
        book.meet(ALICE)
        book.meet(MALLORY)
        book.sweep()
    assert MET_MERIT * 0.9 < book.merit(ALICE) < 1
    assert book.merit(MALLORY) == 0
    book.thank(ALICE, 5)
    book.meet(ALICE)
    assert book.merit(ALICE) < 6


def test_merit_makes_a_friend_and_fades(clock: Clock) -> None:
    book = Conduct(clock)
    for _ in range(3):
        book.thank(ALICE, 1)
    assert book.is_friend(ALICE)
    assert not book.is_friend(MALLORY)
    for _ in range(100):
        book.sweep()
    assert not book.is_friend(ALICE)


def test_a_bucket_holds_a_burst_and_fills_at_its_rate(clock: Clock) -> None:
    bucket = Bucket(2, 10, clock)
    assert bucket.take(10)
    assert not bucket.take()
    clock.s += 1
    assert bucket.take(2)
    assert not bucket.take()
    clock.s += 1000
    assert bucket.take(10)
    assert not bucket.take(0.5)


def test_a_debt_says_how_long_to_wait(clock: Clock) -> None:
    bucket = Bucket(2, 10, clock)
    assert bucket.owe(10) == 0
    assert bucket.owe(1) == pytest.approx(0.5)
    assert bucket.owe(3) == pytest.approx(2)
    clock.s += 2
    assert bucket.owe(0) == 0


def test_buckets_are_apart_and_bounded(clock: Clock) -> None:
    buckets = Buckets(1, 1, clock, most=2)
    assert buckets.take("a")
    assert not buckets.take("a")
    assert buckets.take("b")
    assert buckets.take("c")
    assert len(buckets._buckets) == 2
    assert buckets.owe("c") > 0


def test_no_single_fault_cuts_an_honest_peer_off() -> None:
    assert max(Fault) < LIMIT / 2
    assert conduct.FRIEND_MERIT > 1
