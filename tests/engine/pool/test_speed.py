"""Estimates: guessed at first, measured afterwards, in proportion to the work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshgen.engine.fake import fake_model
from meshgen.engine.pool.speed import Speed

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


def test_batches_and_sizes_are_measured_by_themselves() -> None:
    speed = Speed()
    speed.observe("model", 512, 512, 20, seconds=4.0)
    speed.observe("model", 512, 512, 20, seconds=2.0, batch=4)
    speed.observe("model", 1024, 1024, 20, seconds=24.0)
    assert speed.estimate_s(MODEL, "cpu", 512, 512, 20, 4, batch=4) == pytest.approx(8.0)
    assert speed.estimate_s(MODEL, "cpu", 512, 512, 20, 1) == pytest.approx(4.0)
    assert speed.estimate_s(MODEL, "cpu", 1024, 1024, 20, 1) == pytest.approx(24.0)
    assert speed.estimate_s(MODEL, "cpu", 512, 512, 20, 8, batch=8) == pytest.approx(16.0), "as in the most similar batch"


def test_text_is_measured_by_token() -> None:
    speed, model = Speed(), replace(MODEL, family="text", millions=135)
    assert 0 < speed.estimate_text_s(model, "cuda", 100, 1) < speed.estimate_text_s(model, "cpu", 100, 1)
    speed.observe_text("model", 50, seconds=5.0)
    assert speed.estimate_text_s(model, "cpu", 100, 2) == pytest.approx(20.0)


def test_the_error_of_estimates_is_kept() -> None:
    speed = Speed()
    assert speed.error() is None
    for seconds in (1.0, 1.0, 2.0):
        speed.observe("model", 512, 512, 20, seconds)
    assert speed.error() == pytest.approx(0.25), "one was right, one was half of what it took"
