"""Mixed jobs: what people ask for, and what goes wrong now and then, with what must come of each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import Image

from meshgen.engine.port import Work
from tests.soak.faulty_child import CRASH, HANG, NO_MEMORY, NO_MEMORY_TOGETHER

GOOD = ("sd", "sdxl")
DRAWN, CANCELLED = "drawn", "cancelled"
SIDE = 32


@dataclass(frozen=True)
class Case:
    """``leave_after`` so many events; ``allowed``: what may come of it."""

    kind: str
    work: Work
    allowed: tuple[str, ...]
    leave_after: int | None = None


def cases(count: int, seed: int, slow_faults: bool = True) -> Iterator[Case]:
    """``slow_faults``: hangs too, each of which takes as long as the engine's patience."""
    chance = random.Random(seed)
    weights = {
        "plain": 55,
        "several": 10,
        "from a picture": 8,
        "cancelled": 10,
        "short of memory together": 6,
        "never enough memory": 1,
        "bad file": 2,
        "unknown model": 1,
        "bad input": 4,
        "crash": 2,
        "hang": 1 if slow_faults else 0,
    }
    kinds, shares = list(weights), list(weights.values())
    for number in range(count):
        kind = kinds[number % len(kinds)] if number < len(kinds) else chance.choices(kinds, shares)[0]
        if weights[kind]:
            yield _case(kind, chance, number)


def _case(kind: str, chance: random.Random, number: int) -> Case:
    work = Work(
        chance.choice(GOOD), f"picture {number}", "", SIDE, SIDE, chance.choice((3, 4)), 5.0, "", (number,), chance.choice((0, 2))
    )
    match kind:
        case "several":
            return Case(kind, replace(work, seeds=tuple(range(chance.randint(2, 10)))), (DRAWN,))
        case "from a picture":
            return Case(kind, replace(work, source=_picture(chance), strength=0.8), (DRAWN,))
        case "cancelled":
            return Case(kind, replace(work, steps=200), (CANCELLED,), chance.randint(0, 6))
        case "short of memory together":
            return Case(kind, replace(work, prompt=NO_MEMORY_TOGETHER, seeds=(1, 2)), (DRAWN,))
        case "never enough memory":
            return Case(kind, replace(work, model="hungry", prompt=NO_MEMORY), ("out_of_memory", "bad_model", "bad_input"))
        case "bad file":
            return Case(kind, replace(work, model="hollow"), ("bad_model",))
        case "unknown model":
            return Case(kind, replace(work, model="unknown"), ("unknown_model",))
        case "bad input":
            return Case(kind, replace(work, width=SIDE - 1), ("bad_input",))
        case "crash":
            return Case(kind, replace(work, model="touchy", prompt=CRASH), ("crashed", "bad_model"))
        case "hang":
            return Case(kind, replace(work, model="sleepy", prompt=HANG), ("crashed", "bad_model"))
    return Case(kind, work, (DRAWN,))


def _picture(chance: random.Random) -> bytes:
    file = BytesIO()
    Image.new("RGB", (SIDE, SIDE), tuple(chance.randrange(256) for _ in range(3))).save(file, "JPEG")
    return file.getvalue()
