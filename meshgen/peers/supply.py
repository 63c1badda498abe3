"""What the known workers supply: which model a request gets, and what its pictures would cost. Asks nobody anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from meshgen.peers.tariff import scaled
from meshgen.protocols.advert import PICTURE_FAMILIES, AdapterAdvert, Advert, ModelAdvert

DIGEST_HEX = 8


def find_weights(
    adverts: Iterable[Advert], own: Iterable[ModelAdvert], name: str, families: Sequence[str] = PICTURE_FAMILIES
) -> ModelAdvert | None:
    """The weights that most workers offer under this name (any name, if it is empty), of models of these families."""
    offers: dict[tuple[str, bytes], list[ModelAdvert]] = {}
    for model in chain(own, *[advert.models for advert in adverts]):
        if name in ("", model.name) and model.family in families:
            offers.setdefault((model.name, model.digest), []).append(model)
    return max(offers.values(), key=len)[0] if offers else None


def find_adapter(
    adverts: Iterable[Advert], own: Iterable[AdapterAdvert], kind: str, name: str, family: str
) -> AdapterAdvert | None:
    """The one that most workers have of those that fit; a name may also be the first 8 or more hex digits of a digest."""
    offers: dict[bytes, list[AdapterAdvert]] = {}
    for adapter in chain(own, *[advert.adapters for advert in adverts]):
        named = adapter.name == name or (len(name) >= DIGEST_HEX and adapter.digest.hex().startswith(name))
        if adapter.kind == kind and named and adapter.family in ("", family):
            offers.setdefault(adapter.digest, []).append(adapter)
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
