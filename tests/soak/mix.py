"""Mixed jobs: what people ask for, and what goes wrong now and then, with what must come of each.

A story is a few jobs, each asked when the one before has ended. Stories of broken models have a model of their own, so that what
must come of them is known, and so that faults happen all through a soak: three strikes take a model off the list.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO

from PIL import Image

from meshgen.engine.port import Work
from tests.soak import faulty_child as child
from tests.soak.models import CUT, GONE, GOOD, HOLLOW

DRAWN, CANCELLED = "drawn", "cancelled"
SIDE, LARGE = 32, 96
"""Half the pixels of a LARGE picture are more than those of one of 64x64, the least that a model is offered with."""
BLOCK = 50
CALM_EVERY = 5
"""Each so manieth block is one in which no process dies: a child grows old in it."""


@dataclass(frozen=True)
class Case:
    """``leave_after`` so many events; ``allowed``: what may come of it."""

    kind: str
    work: Work
    allowed: tuple[str, ...] = (DRAWN,)
    leave_after: int | None = None


Story = tuple[Case, ...]


def stories(jobs: int, seed: int) -> list[Story]:
    """So many jobs, in blocks: the same faults in each, in another order."""
    mix, told = Mix(random.Random(seed)), list[Story]()
    for number in range(-(-jobs // BLOCK)):
        block = list(_calm(mix) if number % CALM_EVERY == CALM_EVERY - 1 else _stormy(mix, number))
        block += [mix.plain() for _ in range(BLOCK - count(block))]
        mix.chance.shuffle(block)
        told += block
    return _first(told, jobs)


def few_stories(seed: int) -> list[Story]:
    """One of each that takes no time: no process dies."""
    mix = Mix(random.Random(seed))
    return [
        *(mix.no_memory(), mix.no_memory_for_good(), mix.no_memory_together(), mix.no_memory_whole()),
        *(mix.bad_file(HOLLOW), mix.bad_input(), mix.unknown(), mix.cancelled(), mix.cancelled()),
        *(mix.plain(), mix.plain(), mix.several(), mix.from_a_picture()),
    ]


def count(told: list[Story]) -> int:
    return sum(len(story) for story in told)


def _first(told: list[Story], jobs: int) -> list[Story]:
    while count(told) > jobs:
        told[-1] = told[-1][:-1]
        told = [story for story in told if story]
    return told


def _calm(mix: Mix) -> Iterator[Story]:
    yield from (mix.several() for _ in range(4))
    yield from (mix.from_a_picture() for _ in range(4))
    yield from (mix.cancelled() for _ in range(5))
    yield from (mix.no_memory_together() for _ in range(3))
    yield from (mix.no_memory_whole() for _ in range(2))
    yield from (mix.bad_input(), mix.unknown(), mix.plain(), mix.plain())


def _stormy(mix: Mix, number: int) -> Iterator[Story]:
    yield from _calm(mix)
    yield from (mix.crash(), mix.hang(), mix.crash_of_a_good_model(child.CRASH), mix.crash_of_a_good_model(child.CRASH_LATE))
    yield from (mix.no_memory(), mix.bad_file(HOLLOW), mix.bad_file(CUT), mix.bad_file(GONE))
    if number % 2:
        yield from (mix.crash_for_good(), mix.no_memory_for_good())
    if number == 1:
        yield mix.hang_for_good()


@dataclass
class Mix:
    chance: random.Random
    _number: int = field(default=0)

    def plain(self) -> Story:
        return (Case("plain", self._work()),)

    def several(self) -> Story:
        return (Case("several", replace(self._work(), seeds=tuple(range(self.chance.randint(2, 10))))),)

    def from_a_picture(self) -> Story:
        return (Case("from a picture", replace(self._work(), source=self._picture(), strength=0.8)),)

    def cancelled(self) -> Story:
        return (Case("cancelled", replace(self._work(), steps=200), (CANCELLED,), self.chance.randint(0, 6)),)

    def bad_input(self) -> Story:
        return (Case("bad input", replace(self._work(), width=SIDE - 1), ("bad_input",)),)

    def unknown(self) -> Story:
        return (Case("unknown model", replace(self._work(), model="unknown"), ("unknown_model",)),)

    def bad_file(self, how: str) -> Story:
        """Whoever asks first hears what is wrong, and so does who asks next."""
        work = replace(self._work(), model=self._own(how))
        return (Case(f"file {how}", work, ("bad_model",)), Case(f"file {how}, again", work, ("bad_model",)))

    def no_memory_together(self) -> Story:
        """Of its own size: what has been learned of one is no help for the next."""
        width, height = self.chance.sample(range(SIDE + 8, 2 * SIDE + 8, 8), 2)
        work = replace(self._faulty(child.NO_MEMORY_TOGETHER, "too many at once"), width=width, height=height, seeds=(1, 2, 3))
        return (Case("too many at once", work),)

    def no_memory_whole(self) -> Story:
        kind = "too large but for tiles"
        return (Case(kind, self._faulty(child.NO_MEMORY_WHOLE, kind)),)

    def no_memory(self) -> Story:
        """Refused, then refused before it is tried, then drawn as large as it is offered from then on."""
        kind, model = "too large", self._own("hungry")
        large = replace(self._faulty(child.NO_MEMORY, kind), model=model, width=LARGE, height=LARGE)
        small = replace(self._work(), model=model, width=64, height=64)
        return (
            Case(kind, large, ("out_of_memory",)),
            Case(f"{kind}, again", large, ("bad_input",)),
            Case(f"{kind}, then less", small),
        )

    def no_memory_for_good(self) -> Story:
        return self._three_times("too large, thrice", child.NO_MEMORY, "starved", "out_of_memory")

    def crash(self) -> Story:
        return self._once("crash", self.chance.choice((child.CRASH, child.CRASH_LATE)), "touchy")

    def crash_for_good(self) -> Story:
        return self._three_times("crash, thrice", child.CRASH, "fragile", "crashed")

    def crash_of_a_good_model(self, fault: str) -> Story:
        """Among others' jobs of this model, which are drawn all the same."""
        kind = f"{fault} of a good model"
        return (Case(kind, self._faulty(fault, kind), ("crashed",)),)

    def hang(self) -> Story:
        return self._once("hang", child.HANG, "sleepy")

    def hang_for_good(self) -> Story:
        return self._three_times("hang, thrice", child.HANG, "asleep", "crashed")

    def _once(self, kind: str, fault: str, name: str) -> Story:
        model = self._own(name)
        faulty, sound = (replace(work, model=model) for work in (self._faulty(fault, kind), self._work()))
        return (Case(kind, faulty, ("crashed",)), Case(f"{kind}, then none", sound))

    def _three_times(self, kind: str, fault: str, name: str, reason: str) -> Story:
        """Then the model is off the list."""
        model = self._own(name)
        faulty, sound = (replace(work, model=model) for work in (self._faulty(fault, kind), self._work()))
        return (*(Case(kind, faulty, (reason,)),) * 3, Case(f"{kind}, then none", sound, ("bad_model",)))

    def _work(self) -> Work:
        number = self._next()
        return Work(GOOD[number % 2], f"picture {number}", "", SIDE, SIDE, 4, 5.0, "", (number,), self.chance.choice((0, 2)))

    def _faulty(self, fault: str, kind: str) -> Work:
        return replace(self._work(), prompt=child.prompt_for(fault, kind))

    def _own(self, name: str) -> str:
        return f"{name} {self._next()}"

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _picture(self) -> bytes:
        file = BytesIO()
        Image.new("RGB", (SIDE, SIDE), tuple(self.chance.randrange(256) for _ in range(3))).save(file, "JPEG")
        return file.getvalue()
