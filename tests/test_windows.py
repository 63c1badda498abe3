"""Times of the week, words and patterns as owners write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshgen.settings import SettingsError, load_settings
from meshgen.settings.windows import parse_window

ALL = frozenset(range(7))


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("22:00-07:00", ALL, 1320, 420),
        ("sat 10:00-18:00", {5}, 600, 1080),
        ("SAT SUN 9:00 - 24:00", {5, 6}, 540, 1440),
        ("fri-mon 0:30-1:00", {4, 5, 6, 0}, 30, 60),
        ("mon-fri", {0, 1, 2, 3, 4}, 0, 1440),
        ("sun", {6}, 0, 1440),
    ],
)
def test_windows(text: str, days: set[int], start: int, end: int) -> None:
    window = parse_window(text)
    assert (window.days, window.start, window.end) == (frozenset(days), start, end)


@pytest.mark.parametrize(
    "text",
    [
        *("", "always", "22-07", "25:00-07:00", "22:00-24:30", "22:60-23:00", "24:00-01:00", "08:00-08:00"),
        *("sat 10:00-18:00 sun", "saturday", "sat- 10:00-18:00", "10:00-18:00,", "x" * 9999, "٢٢:00-07:00"),
    ],
)
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time of the week|a window begins"):
        parse_window(text)


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    window = parse_window("sat 22:00-07:00")
    assert window.holds(5, 22 * 60) and window.holds(6, 6 * 60 + 59)
    assert not window.holds(5, 6 * 60) and not window.holds(6, 7 * 60) and not window.holds(6, 22 * 60)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hours: [tea]", "worker.hours: 'tea' is no time of the week such as"),
        ("refuse_words: ['***']", "worker.refuse_words: '***' holds no letter or digit"),
        ("refuse_patterns: ['a(b']", "worker.refuse_patterns: 'a(b' is no regular expression: missing )"),
        ("refuse_patterns: ['']", "a pattern has 1 to 256 characters, not 0"),
        ("refuse_patterns: [" + "a" * 257 + "]", "a pattern has 1 to 256 characters, not 257"),
        ("declines: [work]", "worker.declines: should be 'nsfw'"),
        ("max_temperature_c: 400", "worker.max_temperature_c: should be less"),
        ("vram_free_mib: -1", "worker.vram_free_mib: should be greater"),
    ],
)
def test_bad_rules_are_explained(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"worker:\n  {text}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert says in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_rules_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHGEN_WORKER__HOURS", "22:00-07:00, sat sun")
    monkeypatch.setenv("MESHGEN_WORKER__DECLINES", "nsfw,text")
    monkeypatch.setenv("MESHGEN_WORKER__REFUSE_PATTERNS", r"\ba{2,3}\b")
    worker = load_settings().worker
    assert worker.hours == ("22:00-07:00", "sat sun") and worker.declines == ("nsfw", "text")
    assert worker.refuse_patterns == (r"\ba{2,3}\b",)
    monkeypatch.setenv("MESHGEN_WORKER__REFUSE_PATTERNS", "")
    assert load_settings().worker.refuse_patterns == ()
