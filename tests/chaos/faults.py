"""What happens to the town, and how it is undone. All chance comes from one generator, so a seed tells the whole weather."""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.chaos.town import HUBS, Town

Undo = Callable[[], None]
Strike = Callable[[Town, str, random.Random], tuple[float, Undo]]
"""Does it to a node; answers after how many seconds it is undone, and how."""


def kill(town: Town, name: str, chance: random.Random) -> tuple[float, Undo]:
    """kill -9. Every other time its home is copied, for an old backup to be had."""
    town.kill(name)
    if chance.random() < 0.5 or not town.has_backup(name):
        town.back_up(name)
    return chance.uniform(1, 15), lambda: town.launch(name)


def old_backup(town: Town, name: str, chance: random.Random) -> tuple[float, Undo]:
    """Its disk is lost, and what is put back is minutes old."""
    town.kill(name)
    if town.has_backup(name):
        town.put_back(name)
    else:
        town.back_up(name)
    return chance.uniform(1, 5), lambda: town.launch(name)


def freeze(town: Town, name: str, chance: random.Random) -> tuple[float, Undo]:
    town.freeze(name)
    return chance.uniform(3, 30), lambda: town.thaw(name)


def jump(town: Town, name: str, chance: random.Random) -> tuple[float, Undo]:
    town.set_clock(name, chance.choice((-1, 1)) * chance.choice((20, 90, 600, 86_400)))
    return chance.uniform(10, 40), lambda: town.set_clock(name, 0)


def fill(town: Town, name: str, chance: random.Random) -> tuple[float, Undo]:
    town.fill_disk(name)
    return chance.uniform(5, 20), lambda: town.empty_disk(name)


def split(town: Town, name: str, chance: random.Random) -> tuple[float, Undo]:
    """That node, and others by chance, are cut off from the rest."""
    town.world.split({name, *(other for other in town.plans if chance.random() < 0.3)})
    return chance.uniform(5, 45), town.world.heal


FAULTS: dict[str, Strike] = {
    "kill -9": kill,
    "old backup": old_backup,
    "SIGSTOP": freeze,
    "clock jump": jump,
    "full disk": fill,
    "partition": split,
}


@dataclass
class Weather:
    """Strikes every few seconds; a node that suffers is left alone until it is over."""

    town: Town
    seed: int
    gap_s: tuple[float, float] = (3.0, 9.0)
    struck: Counter[str] = field(default_factory=Counter)
    _over: list[tuple[float, int, str, Undo]] = field(default_factory=list)

    def blow(self, seconds: float) -> Iterator[str]:
        """Tells what it does, as it does it."""
        chance = random.Random(self.seed)
        end = time.monotonic() + seconds
        next_s = time.monotonic() + 1
        while time.monotonic() < end:
            due_s = min([next_s, end, *(over[0] for over in self._over[:1])])
            time.sleep(max(0.0, due_s - time.monotonic()))
            self._undo(time.monotonic())
            yield from self._mend()
            if time.monotonic() >= next_s:
                yield from self._strike(chance)
                next_s = time.monotonic() + chance.uniform(*self.gap_s)
        self._undo(float("inf"))

    def _strike(self, chance: random.Random) -> Iterator[str]:
        suffering = {name for _, _, name, _ in self._over}
        kind = chance.choice(sorted(FAULTS))
        names = [name for name in self.town.plans if name not in suffering and self.town.runs(name)]
        if kind == "full disk":
            names = [name for name in names if name in self.town.disks]
        if kind == "partition" and any(name == "the net" for name in suffering):
            names = []
        if kind in ("kill -9", "old backup", "SIGSTOP") and suffering & set(HUBS):
            names = [name for name in names if name not in HUBS]  # one door stays open: the town has no other
        if not names:
            return
        name = chance.choice(names)
        seconds, undo = FAULTS[kind](self.town, name, chance)
        self.struck[kind] += 1
        whom = "the net" if kind == "partition" else name
        heapq.heappush(self._over, (time.monotonic() + seconds, self.struck.total(), whom, undo))
        yield f"{kind}: {name}, {seconds:.0f} s"

    def _undo(self, now_s: float) -> None:
        while self._over and self._over[0][0] <= now_s:
            heapq.heappop(self._over)[3]()

    def _mend(self) -> Iterator[str]:
        """A node that ended by itself is told of, and started again as its service would."""
        suffering = {name for _, _, name, _ in self._over}
        for name in self.town.plans:
            if name not in suffering and not self.town.runs(name):
                last = (self.town[name].log.strip().splitlines() or [""])[-1]
                self.town.ended.append(f"{name}: {last}")
                self.town.launch(name)
                yield f"{name} ended by itself: {last}"
