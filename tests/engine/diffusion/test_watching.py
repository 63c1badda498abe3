"""When previews are shown: their share of a watched job's time has its bound from the first one. A clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch

from meshgen.engine.diffusion import watching
from meshgen.engine.diffusion.previews import LOOK, Previewer
from meshgen.engine.diffusion.watching import Cancelled, Member, Watch
from tests.engine.pictures import work
from tests.engine.tiny_studio import model, studio

pytestmark = pytest.mark.torch

SIZE = (64, 64)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class CostlyPreviewer:
    """Previews take ``COST_S``; costs no time of its own."""

    COST_S = 0.05

    def __init__(self, clock: Clock) -> None:
        self.watched_s = 0.0
        self._clock = clock

    def cost_s(self, count: int, size: tuple[int, int], step_s: float) -> float:
        return self.COST_S

    def jpegs(self, latents: Any, size: tuple[int, int]) -> list[bytes]:
        self.watched_s = 0.0
        self._clock.now += self.COST_S
        return [b"jpeg"] * len(latents)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(watching, "time", clock)
    yield clock


def shown(clock: Clock, previewer: CostlyPreviewer, step_s: float, steps: int, every: int = 1) -> list[int]:
    """The steps at which a job of one picture shows a preview."""
    told: list[int] = []

    def tell(what: str, **fields: Any) -> None:
        if what == "preview":
            told.append(fields["step"])

    member = Member(work(steps=steps, preview_every=every, seeds=(1,)), tell, lambda: False)
    watch = Watch([(member, 0)], cast(Previewer, previewer))
    watch.begin_pass()
    for at in range(steps):
        clock.now += step_s
        watch.on_call(at, steps, 0.0, torch.zeros(1, 4, 8, 8), SIZE)
    return told


def test_each_preview_is_paid_for_before_it_comes(clock: Clock) -> None:
    assert shown(clock, CostlyPreviewer(clock), step_s=1.01, steps=18) == [5, 10, 15]


def test_cheap_ones_keep_their_distance(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CostlyPreviewer, "COST_S", 0.0)
    assert shown(clock, CostlyPreviewer(clock), step_s=0.2, steps=10) == [3, 6, 9]


def test_short_jobs_pay_together(clock: Clock) -> None:
    previewer = CostlyPreviewer(clock)
    assert [shown(clock, previewer, step_s=1.01, steps=3) for _ in range(4)] == [[], [2], [], [1]]


def test_jobs_that_nobody_watches_pay_for_nothing(clock: Clock) -> None:
    previewer = CostlyPreviewer(clock)
    assert shown(clock, previewer, step_s=9.0, steps=9, every=0) == []
    assert shown(clock, previewer, step_s=1.01, steps=4) == []


@pytest.mark.parametrize(("step_s", "told"), [(1.0, [1, 2, 3, 4, 5, 6]), (0.0625, [1, 3, 5, 6]), (0.001, [1, 6])])
def test_progress_keeps_its_distance_but_for_the_last_step(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, step_s: float, told: list[int]
) -> None:
    monkeypatch.setattr(watching, "PROGRESS_GAP_S", 0.1)
    heard: list[int] = []
    member = Member(work(steps=6, seeds=(1,)), lambda what, **fields: heard.append(fields["step"]), lambda: False)
    watch = Watch([(member, 0)], cast(Previewer, CostlyPreviewer(clock)))
    for at in range(6):
        clock.now += step_s
        watch.on_call(at, 6, 0.0, torch.zeros(1, 4, 8, 8), SIZE)
    assert heard == told


def test_nobody_left_ends_the_batch() -> None:
    member = Member(work(), lambda *_, **__: None, lambda: True)
    with pytest.raises(Cancelled):
        Watch([(member, 0)], cast(Previewer, CostlyPreviewer(Clock()))).on_call(0, 3, 0.0, None, SIZE)


def test_what_previews_cost_is_guessed_by_a_step_and_then_measured() -> None:
    pipe = studio().load(model("sd1")).pipe
    previewer = Previewer(pipe)
    assert 0 < previewer.cost_s(1, SIZE, 0.1) <= 2 * 0.1 and previewer.cost_s(1, SIZE, 0.0) == 0
    side = 64 // pipe.vae_scale_factor
    assert len(previewer.jpegs(torch.randn(2, 4, side, side), SIZE)) == 2
    assert 0 < previewer.cost_s(1, SIZE, 9.0) == previewer.cost_s(2, SIZE, 0.0) / 2


def test_a_large_decoder_is_guessed_by_the_look_through_it() -> None:
    pipe = studio().load(model("sd1")).pipe
    previewer = Previewer(pipe)
    previewer._decodes = False
    side = LOOK * pipe.vae_scale_factor
    assert previewer.cost_s(1, (8 * side, 8 * side), 1.0) == pytest.approx(2 / 64)
