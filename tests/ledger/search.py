"""Breadth-first through every state that a model can get into; the first fault comes with the shortest way to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)


class Model(Protocol[S]):
    def initial(self) -> S: ...

    def moves(self, state: S) -> Iterable[tuple[str, S]]:
        """What may happen next, in words, and where it leads. None: the state is final."""

    def fault(self, state: S, final: bool) -> str:
        """What must not be so in this state and is; "" if all is well."""

    def outcome(self, state: S) -> str:
        """What a final state comes to, in a word."""


@dataclass
class Search(Generic[S]):
    """``fault`` is "" if none was found; ``trace`` is how to get to it."""

    states: int = 0
    moves: int = 0
    depth: int = 0
    finals: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    fault: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = f"{self.states:,} states, {self.moves:,} moves, {self.depth} deep, {self.finals:,} final: "
        told += ", ".join(f"{count:,} {name}" for name, count in sorted(self.outcomes.items()))
        if self.fault:
            steps = "\n".join(f"  {number:>2}. {step}" for number, step in enumerate(self.trace, 1))
            told += f"\nFAULT: {self.fault}\n{steps}"
        return told


def search(model: Model[S]) -> Search[S]:
    """Every state once; stops at the first fault."""
    found: Search[S] = Search()
    start = model.initial()
    came_from: dict[S, tuple[S, str] | None] = {start: None}
    level = [start]
    while level:
        following: list[S] = []
        for state in level:
            moves = list(model.moves(state))
            found.states += 1
            found.moves += len(moves)
            if not moves:
                found.finals += 1
                found.outcomes[model.outcome(state)] += 1
            if fault := model.fault(state, not moves):
                found.fault, found.trace = fault, _trace(came_from, state)
                return found
            for label, target in moves:
                if target not in came_from:
                    came_from[target] = (state, label)
                    following.append(target)
        found.depth += bool(following)
        level = following
    return found


def _trace(came_from: dict[S, tuple[S, str] | None], state: S) -> tuple[str, ...]:
    steps: list[str] = []
    while (step := came_from[state]) is not None:
        state, label = step
        steps.append(label)
    return tuple(reversed(steps))
