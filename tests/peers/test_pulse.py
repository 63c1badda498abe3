"""What is told of others' clocks, and how a node sees that it slept or moved."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from meshgen.net.port import PeerId
from meshgen.peers.pulse_clock import FRESH_S, HURTS_MS, MAX_VOICES, Clocks, span
from meshgen.peers.pulse_wake import MOVED_EVERY_S, SLEPT_S, Wake, machine_addresses


def clocks(*ahead_ms: int) -> Clocks:
    found = Clocks(lambda: 0.0)
    for number, ahead in enumerate(ahead_ms):
        found.take(PeerId(f"p{number}"), ahead)
    return found


@pytest.mark.parametrize(
    ("ahead_ms", "skew_ms"),
    [
        ((), None),
        ((500,), -500),
        ((100, 300), -100),
        ((-300, 100), 0),
        ((-300, -100), 100),
        ((0, 0, 10**12), 0),
        ((5, 5, 10**12, 10**12), -5),
        ((-5, 5, 10**12, 10**12, 10**12), -(10**12)),
    ],
)
def test_the_median_counts_and_of_two_the_milder(ahead_ms: tuple[int, ...], skew_ms: int | None) -> None:
    assert clocks(*ahead_ms).skew_ms() == skew_ms
    assert clocks(*ahead_ms).status() == {"skew_ms": skew_ms, "peers": len(ahead_ms)}


def test_a_minority_of_liars_stays_between_the_honest() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    for _ in range(200):
        honest = [rng.randrange(-2000, 2000) for _ in range(rng.randrange(1, 20))]
        liars = [rng.randrange(-(2**52), 2**52) for _ in range(rng.randrange(len(honest)))]
        voices = [*honest, *liars]
        rng.shuffle(voices)
        skew = clocks(*voices).skew_ms()
        assert skew is not None
        assert -max(honest) <= skew <= -min(honest) or skew == 0, f"seed {seed}"


def test_trouble_begins_where_it_hurts_and_says_which_way() -> None:
    assert clocks(HURTS_MS - 1, HURTS_MS - 1).trouble() == ""
    assert "5 minutes behind other peers'" in clocks(300_000, 300_000).trouble()
    assert "5 minutes ahead of other peers'" in clocks(-300_000, -300_000).trouble()
    assert "only peer" in clocks(-300_000).trouble()


def test_one_voice_a_peer_and_no_more_than_so_many_for_so_long() -> None:
    now_s = 0.0
    found = Clocks(lambda: now_s)
    for number in range(2 * MAX_VOICES):
        found.take(PeerId("loud"), number)
    assert (found.peers, found.skew_ms()) == (1, 1 - 2 * MAX_VOICES)
    for number in range(2 * MAX_VOICES):
        found.take(PeerId(f"p{number}"), 0)
    assert found.peers == MAX_VOICES
    now_s = FRESH_S + 1
    assert (found.peers, found.skew_ms()) == (0, None)


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0, "0 seconds"), (31_000, "31 seconds"), (60_000, "1 minute"), (7_200_000, "2 hours"), (10**11, "1157 days")],
)
def test_spans_are_told_in_words(ms: int, words: str) -> None:
    assert span(ms) == words


class Machine:
    """One whose wall clock and addresses the test sets."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.addresses = frozenset(("192.0.2.1",))
        self.wake = Wake(self.now_ms, lambda: self.addresses)

    def now_ms(self) -> int:
        return 1_789_000_000_000 + round((trio.current_time() + self.ahead_s) * 1000)


@pytest.mark.parametrize(
    ("ahead_s", "stood_s", "happened"),
    [(0, 1, ""), (SLEPT_S - 2, 1, ""), (3600, 1, "slept"), (0, SLEPT_S + 1, "slept"), (-3600, 1, "was set"), (-3, 1, "")],
)
async def test_a_gap_between_looks_is_a_sleep(
    ahead_s: float, stood_s: float, happened: str, autojump_clock: trio.testing.MockClock
) -> None:
    machine = Machine()
    await trio.sleep(1)
    assert machine.wake.look() == ""
    machine.ahead_s = ahead_s
    await trio.sleep(stood_s)
    assert machine.wake.look() == happened
    await trio.sleep(1)
    assert machine.wake.look() == ""


async def test_other_addresses_are_noticed_at_the_next_look_at_them(autojump_clock: trio.testing.MockClock) -> None:
    machine = Machine()
    machine.addresses = frozenset(("198.51.100.7",))
    assert machine.wake.look() == ""
    await trio.sleep(MOVED_EVERY_S)
    assert machine.wake.look() == "moved"
    await trio.sleep(MOVED_EVERY_S)
    assert machine.wake.look() == ""


def test_a_machines_addresses_are_those_that_others_can_use() -> None:
    assert not any(address.startswith(("127.", "fe80:", "169.254.")) for address in machine_addresses())
