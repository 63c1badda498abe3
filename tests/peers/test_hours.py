"""Hours of the week by the clock on the wall, through changes to summer time and back."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from meshgen.peers.hours import MINUTE_MS, Hours

BERLIN = ZoneInfo("Europe/Berlin")


def local(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, BERLIN)


def at(text: str, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp() * 1000)


def said(ms: int | None) -> str:
    return "" if ms is None else local(ms).strftime("%a %d %H:%M")


def minutes_open(hours: Hours, start: str, days: int) -> int:
    first = at(start)
    last = at((datetime.fromisoformat(start) + timedelta(days=days)).isoformat())
    return sum(hours.open_at(minute) for minute in range(first, last, MINUTE_MS))


def test_no_windows_are_always() -> None:
    hours = Hours(())
    assert hours.open_at(0) and hours.open_at(at("2026-06-01T03:00")) and hours.next_change(0) is None


def test_the_whole_week_never_changes() -> None:
    hours = Hours(("mon-sun",), local)
    assert hours.open_at(at("2026-06-01T03:00")) and hours.next_change(at("2026-06-01T03:00")) is None


@pytest.mark.parametrize(
    ("now", "is_open", "changes"),
    [
        ("2026-06-01T21:59:59", False, "Mon 01 22:00"),
        ("2026-06-01T22:00", True, "Tue 02 07:00"),
        ("2026-06-02T06:59:59", True, "Tue 02 07:00"),
        ("2026-06-02T07:00", False, "Tue 02 22:00"),
        ("2026-06-05T23:00", True, "Sat 06 07:00"),
        ("2026-06-06T09:59", False, "Sat 06 10:00"),
        ("2026-06-06T17:00", True, "Sat 06 18:00"),
    ],
)
def test_nights_and_a_saturday(now: str, is_open: bool, changes: str) -> None:
    hours = Hours(("22:00-07:00", "sat 10:00-18:00"), local)
    assert (hours.open_at(at(now)), said(hours.next_change(at(now)))) == (is_open, changes)


def test_a_window_once_a_week_is_found_from_the_day_after() -> None:
    hours = Hours(("sun 12:00-13:00",), local)
    assert said(hours.next_change(at("2026-06-07T13:00"))) == "Sun 14 12:00"


def test_windows_that_meet_are_one() -> None:
    hours = Hours(("fri 20:00-24:00", "sat 00:00-02:00"), local)
    assert said(hours.next_change(at("2026-06-05T21:00"))) == "Sat 06 02:00"


def test_the_night_that_lacks_an_hour_and_the_one_that_has_one_more() -> None:
    nights = Hours(("22:00-07:00",), local)
    assert minutes_open(nights, "2026-03-28T12:00", 1) == 8 * 60  # to summer time at 2:00
    assert minutes_open(nights, "2026-10-24T12:00", 1) == 10 * 60
    assert minutes_open(nights, "2026-06-01T12:00", 1) == 9 * 60


def test_a_window_inside_the_hour_that_there_is_not_or_twice() -> None:
    hours = Hours(("02:15-02:45",), local)
    assert minutes_open(hours, "2026-03-29T00:00", 1) == 0
    assert minutes_open(hours, "2026-10-25T00:00", 1) == 60
    assert said(hours.next_change(at("2026-03-28T12:00"))) == "Mon 30 02:15"
    first = at("2026-10-25T02:20")
    assert hours.next_change(first) == at("2026-10-25T02:45") and hours.open_at(at("2026-10-25T02:20", fold=1))


def test_it_closes_when_the_clock_jumps_over_its_end() -> None:
    hours = Hours(("01:00-02:30",), local)
    assert said(hours.next_change(at("2026-03-29T01:30"))) == "Sun 29 03:00"


def test_the_next_change_is_looked_for_once() -> None:
    asked = []

    def counted(ms: int) -> datetime:
        asked.append(ms)
        return local(ms)

    hours = Hours(("22:00-07:00",), counted)
    noon = at("2026-06-01T12:00")
    first, effort = hours.next_change(noon), len(asked)
    assert all(hours.next_change(noon + minute * MINUTE_MS) == first for minute in range(600)) and len(asked) == effort
    assert said(hours.next_change(noon + 600 * MINUTE_MS)) == "Tue 02 07:00"
    assert said(hours.next_change(noon - 12 * 60 * MINUTE_MS)) == "Mon 01 07:00"  # a clock that was set back
