"""Round trip and clock from one exchange, whatever the times are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.protocols.codec import Malformed
from meshgen.protocols.pulse import Ping, Pong, Reading, reading

NOW_MS = 1_789_000_000_000


@given(ahead=st.integers(-(10**9), 10**9), forth=st.integers(0, 10_000), busy=st.integers(0, 10_000), back=st.integers(0, 10_000))
def test_the_clock_is_off_by_half_of_the_round_trip_at_most(ahead: int, forth: int, busy: int, back: int) -> None:
    heard = NOW_MS + forth + ahead
    told = reading(Pong(NOW_MS, heard, heard + busy), NOW_MS, NOW_MS + forth + busy + back)
    assert told.rtt_ms == forth + back
    assert abs(told.ahead_ms - ahead) <= (forth + back + 1) / 2


def test_an_answer_to_another_question_tells_nothing() -> None:
    with pytest.raises(Malformed, match="another ping"):
        reading(Pong(NOW_MS, 1, 2), NOW_MS + 1, NOW_MS + 2)


def test_lies_about_the_time_spent_make_no_negative_round_trip() -> None:
    assert reading(Pong(NOW_MS, 0, 2**53 - 1), NOW_MS, NOW_MS + 10).rtt_ms == 0
    assert reading(Pong(NOW_MS, NOW_MS, NOW_MS), NOW_MS, NOW_MS - 10) == Reading(0, 0)


def test_pulses_are_small() -> None:
    most = 2**53 - 1
    assert len(Ping(most).encode()) == 17
    assert len(Pong(most, most, most).encode()) == 35
