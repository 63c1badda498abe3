"""What the known workers supply: which model a request gets, and what its pictures would cost. Asks nobody anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from meshgen.peers.tariff import scaled
from meshgen.protocols.advert import Advert, ModelAdvert


def find_weights(adverts: Iterable[Advert], own: Iterable[ModelAdvert], name: str) -> ModelAdvert | None:
    """The weights that most workers offer under this name (any name, if it is empty)."""
    offers: dict[tuple[str, bytes], list[ModelAdvert]] = {}
    for model in chain(own, *[advert.models for advert in adverts]):
        if name in ("", model.name):
            offers.setdefault((model.name, model.digest), []).append(model)
    return max(offers.values(), key=len)[0] if offers else None


@dataclass(frozen=True, slots=True)
class Level:
    """So many known workers would take so much for one picture."""

    workers: int
    price_permille: int
    mkudos: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What a request would cost. Amounts in milli-kudos, for one picture; ``total_mkudos`` for all: no bill exceeds it."""

    model: str
    width: int
    height: int
    steps: int
    count: int
    shared: bool
    tariff_mkudos: int
    max_mkudos: int
    levels: tuple[Level, ...]
    """By price, the lowest first; workers that ask more than ``max_mkudos`` too."""
    own: bool
    """This node can draw it itself, for nothing."""

    @property
    def total_mkudos(self) -> int:
        return self.max_mkudos * self.count

    @property
    def in_reach(self) -> int:
        """Workers that ask no more than the most that is paid."""
        return sum(level.workers for level in self.levels if level.mkudos <= self.max_mkudos)


def price_levels(able: Sequence[Advert], tariff_mkudos: int) -> tuple[Level, ...]:
    """What these workers' own prices make of the tariff, as they advertise them."""
    counts = Counter(advert.price_permille for advert in able)
    return tuple(Level(number, permille, scaled(tariff_mkudos, permille)) for permille, number in sorted(counts.items()))
