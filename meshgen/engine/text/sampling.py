"""Which token comes next. Child side: imports torch.

Filters come in transformers' order: repetition penalty, temperature, top_k, top_p, min_p. Chance comes from each row's own seed,
one number for every token of the vocabulary at each step, so that a row is independent of what is written beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from meshgen.engine.port import TextWork

COLDEST = 1e-4
"""Below this temperature, scores would leave float32's range."""


class Sampler:
    """For the rows of one batch. ``seen``: the prompt's tokens, which count as repetitions too."""

    def __init__(self, work: TextWork, seeds: Sequence[int], seen: Sequence[int], vocabulary: int, place: str) -> None:
        self._work = work
        self._chances = [torch.Generator(place).manual_seed(seed) for seed in seeds] if work.temperature else []
        self._place = place
        self._seen: torch.Tensor | None = None
        if work.repetition_penalty != 1:
            self._seen = torch.zeros(len(seeds), vocabulary, dtype=torch.bool, device=place)
            self._seen[:, torch.tensor(seen, device=place)] = True

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """logits [rows, vocabulary] -> tokens [rows]."""
        scores = self._without_repetition(logits.float())
        tokens = self._drawn(scores) if self._work.temperature else scores.argmax(-1)
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)
        return tokens

    def keep(self, rows: Sequence[int]) -> None:
        """The others are done."""
        self._chances = [self._chances[row] for row in rows] if self._chances else []
        if self._seen is not None:
            self._seen = self._seen[list(rows)]

    def _without_repetition(self, scores: torch.Tensor) -> torch.Tensor:
        if self._seen is None:
            return scores
        penalty = self._work.repetition_penalty
        return torch.where(self._seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)

    def _drawn(self, scores: torch.Tensor) -> torch.Tensor:
        """Each token's chance over an exponential variate of its own: the largest is drawn with just that chance."""
        chances, ids = filtered(scores, self._work)
        vocabulary = scores.shape[-1]
        noise = torch.stack([torch.empty(vocabulary, device=self._place).exponential_(generator=row) for row in self._chances])
        if ids is None:
            return (chances / noise).argmax(-1)
        return ids.gather(1, (chances / noise.gather(1, ids)).argmax(-1, keepdim=True))[:, 0]


def filtered(scores: torch.Tensor, work: TextWork) -> tuple[torch.Tensor, torch.Tensor | None]:
    """scores [rows, vocabulary] -> (chances [rows, n], up to a factor; their tokens [rows, n], or None if they are in order)."""
    scores, ids = scores / max(work.temperature, COLDEST), None
    if 0 < work.top_k < scores.shape[-1]:
        scores, ids = scores.topk(work.top_k)
    elif work.top_p < 1:
        scores, ids = scores.sort(descending=True, stable=True)
    chances = scores.softmax(-1)
    if work.top_p < 1:
        chances = chances.masked_fill(chances.cumsum(-1) - chances >= work.top_p, 0)
    if work.min_p:
        chances = chances.masked_fill(chances < work.min_p * chances.amax(-1, keepdim=True), 0)
    return chances, ids
