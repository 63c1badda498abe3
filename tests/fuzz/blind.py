"""Fuzzing without coverage: nothing but a seed, so it finds less than atheris and never the same thing twice differently."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.fuzz.mutation import mutate
from tests.fuzz.target import Target


@dataclass(frozen=True)
class Find:
    """Bytes that brought an error which no decoder may raise."""

    target: str
    data: bytes
    error: Exception

    def __str__(self) -> str:
        return f"{self.target}: {type(self.error).__name__}: {self.error}\n  bytes.fromhex({self.data.hex()!r})"


def fuzz(target: Target, seed: int, runs: int) -> Find | None:
    """The first find in so many runs; the same for the same seed."""
    rng = random.Random(f"{target.name} {seed}")
    for _ in range(runs):
        data = mutate(target.seed(rng), rng, target.seeds)
        try:
            target.survives(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            return Find(target.name, data, error)
    return None
