"""What a requester believes of workers: its own experience, and for newcomers, how the last newcomers did."""

from __future__ import annotations

from meshgen.net.port import PeerId
from meshgen.peers.matching import TRUST_FLOOR, Choice, allocate
from meshgen.peers.trust import FORGIVE_AFTER, MOST, NEWCOMERS, Trust

HONEST, NEW = PeerId("honest"), PeerId("new")


def swindled(times: int = NEWCOMERS) -> Trust:
    """By so many fresh keys, after one honest worker."""
    trust = Trust()
    trust.kept(HONEST)
    for number in range(times):
        trust.lost(PeerId(f"key {number}"))
    return trust


def test_an_unknown_worker_is_believed_where_nobody_cheats() -> None:
    trust = Trust()
    assert trust.of(NEW) == 1
    for number in range(50):
        trust.kept(PeerId(f"worker {number}"))
    assert trust.of(NEW) == 1


def test_fresh_keys_share_the_fate_of_the_last_ones() -> None:
    trust = swindled()
    assert trust.of(NEW) < 0.2
    assert trust.of(HONEST) == 1


def test_a_worker_that_is_there_but_silent_counts_against_newcomers_alone() -> None:
    trust = swindled(0)
    for number in range(NEWCOMERS):
        trust.silent(PeerId(f"ghost {number}"))
    trust.silent(HONEST)
    assert trust.of(NEW) < 0.2
    assert trust.of(HONEST) == 1


def test_time_gives_newcomers_another_chance() -> None:
    trust = swindled()
    before = trust.of(NEW)
    for _ in range(FORGIVE_AFTER * NEWCOMERS):
        trust.kept(HONEST)
    assert trust.of(NEW) == 1 > before


def test_a_newcomer_that_keeps_its_word_is_believed_at_once() -> None:
    trust = swindled()
    trust.kept(NEW)
    assert trust.of(NEW) == 1


def test_who_promises_no_time_at_all_does_not_win_by_that() -> None:
    trust = swindled()
    swindler = Choice(count=1, mkudos=1, start_ms=0, picture_ms=0, trust=trust.of(NEW))
    honest = Choice(count=1, mkudos=5000, start_ms=500, picture_ms=1000, trust=trust.of(HONEST))
    assert trust.of(NEW) > TRUST_FLOOR
    assert allocate([swindler, honest], 1, 10_000) == [0, 1]


def test_so_many_are_remembered_and_the_last_ones_longest() -> None:
    trust = Trust()
    for number in range(MOST + 10):
        trust.lied(PeerId(f"key {number}"))
        trust.kept(HONEST)
    assert len(trust._seen) == MOST
    assert trust.experience(HONEST).kept == MOST + 10
    assert trust.experience(PeerId(f"key {MOST + 9}")).lied == 1
    assert trust.experience(PeerId("key 0")).lied == 0
