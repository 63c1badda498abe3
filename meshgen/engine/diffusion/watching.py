"""What is told while a batch is denoised: progress, previews; and whether anybody still waits for it. Child side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshgen.engine.diffusion.previews import Previewer
from meshgen.engine.port import Work

PREVIEW_GAP_S = 0.5
"""Of denoising with somebody watching, before previews are shown, and again before the next ones..."""
PREVIEW_SHARE = 100
"""...and so many times what they will take. A short job may show none."""
PROGRESS_GAP_S = 0.1
"""At least so long between two words of progress: no eye follows more, and on a CPU each takes from the denoiser."""


class Cancelled(Exception):
    """Nobody wants these pictures any more."""


@dataclass(frozen=True, eq=False, slots=True)
class Member:
    """One job of a batch.

    ``tell`` is called with "progress" {indexes, step}, "preview" {index, step, jpeg}, "picture" {index, seed, png, seconds}, and
    no more once ``cancelled`` says true.
    """

    work: Work
    tell: Callable[..., None]
    cancelled: Callable[[], bool]
    shown: dict[int, int] = field(default_factory=dict)
    """The last step of each picture that was previewed: a batch that is drawn again shows nothing twice."""


class Watch:
    """Over all passes of one batch, whose pictures are ``places``: jobs and their pictures' indexes."""

    def __init__(self, places: Sequence[tuple[Member, int]], previewer: Previewer) -> None:
        self._places = places
        self._members = list(dict.fromkeys(member for member, _ in places))
        self._previewer = previewer
        self._steps = self._members[0].work.steps
        self._step = 0
        self._calls = 0  # of the denoiser, in passes that are over
        self._since = 0.0  # when the denoiser was last let go on
        self._told = 0.0  # when progress was last told

    def living(self) -> list[Member]:
        """Raises Cancelled if there are none."""
        living = [member for member in self._members if not member.cancelled()]
        if not living:
            raise Cancelled
        return living

    def begin_pass(self) -> None:
        self._since = time.monotonic()

    def end_pass(self, calls: int) -> None:
        self._calls += calls

    def on_call(self, at: int, calls: int, more: float, latents: Any, size: tuple[int, int]) -> None:
        """After call ``at`` of the denoiser of ``calls`` in this pass; ``more``: those of later passes, as a share of ``calls``.

        Some schedulers call it more than once a step, others fewer times: progress counts the job's steps. Raises Cancelled.
        """
        living = self.living()
        now = time.monotonic()
        took_s, self._since = now - self._since, now
        if any(member.work.preview_every for member in living):
            self._previewer.watched_s += took_s
        total = self._calls + calls + round(calls * more)
        step = min(-(-(self._calls + at + 1) * self._steps // total), self._steps)
        if step <= self._step:
            return
        before, self._step = self._step, step
        if step == self._steps or now - self._told >= PROGRESS_GAP_S:
            self._told = now
            for member in living:
                member.tell("progress", indexes=[index for one, index in self._places if one is member], step=step)
        if step < self._steps:
            due = {member for member in living if _due(member.work.preview_every, before, step)}
            self._preview([place for place in enumerate(self._places) if place[1][0] in due], latents, size, took_s)

    def _preview(self, due: Sequence[tuple[int, tuple[Member, int]]], latents: Any, size: tuple[int, int], took_s: float) -> None:
        """``due``: rows of the latents, and whose they are. ``took_s``: the denoiser's last call."""
        wanted = [(row, member, index) for row, (member, index) in due if member.shown.get(index, 0) < self._step]
        if not wanted:
            return
        cost_s = self._previewer.cost_s(len(wanted), size, took_s)
        if self._previewer.watched_s < max(PREVIEW_GAP_S, PREVIEW_SHARE * cost_s):
            return
        jpegs = self._previewer.jpegs(latents[[row for row, _, _ in wanted]], size)
        self._since = time.monotonic()
        for (_, member, index), jpeg in zip(wanted, jpegs, strict=False):
            member.shown[index] = self._step
            member.tell("preview", index=index, step=self._step, jpeg=jpeg)


def _due(every: int, before: int, step: int) -> bool:
    """Between the two steps lies one of those at which a preview is wanted."""
    return every > 0 and step // every > before // every
