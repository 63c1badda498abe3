"""What is told while a batch is denoised: progress, previews; and whether anybody still waits for it. Child side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshgen.engine.diffusion.previews import Previewer
from meshgen.engine.port import Work

PREVIEW_GAP_S = 0.5
"""A batch shows no previews sooner than this after the last ones..."""
PREVIEW_SHARE = 100
"""...and none before they have cost less than one part in so many of the time."""


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
        self._next_preview = 0.0

    def living(self) -> list[Member]:
        """Raises Cancelled if there are none."""
        living = [member for member in self._members if not member.cancelled()]
        if not living:
            raise Cancelled
        return living

    def end_pass(self, calls: int) -> None:
        self._calls += calls

    def on_call(self, at: int, calls: int, more: float, latents: Any, size: tuple[int, int]) -> None:
        """After call ``at`` of the denoiser of ``calls`` in this pass; ``more``: those of later passes, as a share of ``calls``.

        Some schedulers call it more than once a step, others fewer times: progress counts the job's steps. Raises Cancelled.
        """
        living = self.living()
        total = self._calls + calls + round(calls * more)
        step = min(-(-(self._calls + at + 1) * self._steps // total), self._steps)
        if step <= self._step:
            return
        before, self._step = self._step, step
        for member in living:
            member.tell("progress", indexes=[index for one, index in self._places if one is member], step=step)
        if step < self._steps:
            due = {member for member in living if _due(member.work.preview_every, before, step)}
            self._preview([place for place in enumerate(self._places) if place[1][0] in due], latents, size)

    def _preview(self, due: Sequence[tuple[int, tuple[Member, int]]], latents: Any, size: tuple[int, int]) -> None:
        """``due``: rows of the latents, and whose they are."""
        wanted = [(row, member, index) for row, (member, index) in due if member.shown.get(index, 0) < self._step]
        now = time.monotonic()
        if not wanted or now < self._next_preview:
            return
        jpegs = self._previewer.jpegs(latents[[row for row, _, _ in wanted]], size)
        spent_s = time.monotonic() - now
        self._next_preview = now + max(PREVIEW_GAP_S, PREVIEW_SHARE * spent_s)
        for (_, member, index), jpeg in zip(wanted, jpegs, strict=False):
            member.shown[index] = self._step
            member.tell("preview", index=index, step=self._step, jpeg=jpeg)


def _due(every: int, before: int, step: int) -> bool:
    """Between the two steps lies one of those at which a preview is wanted."""
    return every > 0 and step // every > before // every
