"""Estimates: guessed at first, measured afterwards, in proportion to the work."""

from __future__ import annotations

import pytest

from meshgen.engine.fake import fake_model
from meshgen.engine.speed import Speed

MODEL = fake_model("model", default_size=512)


def test_a_guess_follows_the_device_and_the_work() -> None:
    speed = Speed()
    guesses = [speed.estimate_s(MODEL, kind, 512, 512, 20, 1) for kind in ("cuda", "mps", "cpu", "abacus")]
    assert 0 < guesses[0] < guesses[1] < guesses[2] == guesses[3]
    assert speed.estimate_s(MODEL, "cpu", 1024, 1024, 20, 3) == pytest.approx(12 * guesses[2])


def test_measured_speed_replaces_the_guess_and_follows_changes() -> None:
    speed = Speed()
    speed.observe("model", 512, 512, 20, seconds=4.0)
    assert speed.estimate_s(MODEL, "cpu", 512, 512, 20, 1) == pytest.approx(4.0)
    assert speed.estimate_s(MODEL, "cpu", 512, 1024, 20, 2) == pytest.approx(16.0)
    for _ in range(30):
        speed.observe("model", 512, 512, 20, seconds=1.0)
    assert speed.estimate_s(MODEL, "cpu", 512, 512, 20, 1) == pytest.approx(1.0, rel=0.01)
    assert speed.estimate_s(fake_model("other"), "cpu", 512, 512, 20, 1) == Speed().estimate_s(
        fake_model("other"), "cpu", 512, 512, 20, 1
    )


def test_below_a_size_pictures_cost_the_same() -> None:
    speed = Speed()
    speed.observe("model", 16, 16, 10, seconds=1.0)
    assert speed.estimate_s(MODEL, "cpu", 64, 64, 10, 1) == pytest.approx(1.0)


def test_what_is_forgotten_is_guessed_again() -> None:
    speed = Speed()
    speed.observe("model", 64, 64, 1, seconds=100.0)
    speed.forget("model")
    assert speed.estimate_s(MODEL, "cpu", 64, 64, 1, 1) == Speed().estimate_s(MODEL, "cpu", 64, 64, 1, 1)
