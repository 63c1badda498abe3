"""Which models stay where: in the device's memory, in the machine's, or on disk alone. The policy only; it moves nothing."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

RESERVE_SHARE, RESERVE_MIB = 0.2, 256
"""Of the device's memory, for what a model computes with beside its weights."""
UNKNOWN_MIB = 4096
"""Of a device that does not say what it has."""
RAM_SHARE = 0.5
"""Of the machine's free memory, for models that had to leave the device."""


class Tier(enum.IntEnum):
    DISK = 0
    RAM = 1
    DEVICE = 2


class Fit(enum.IntEnum):
    """How a model can be run on this device."""

    WHOLE = 0
    PART_BY_PART = 1  # text encoder, denoiser and decoder come and go
    LAYER_BY_LAYER = 2


@dataclass(frozen=True, slots=True)
class Budget:
    """MiB for weights."""

    device_mib: int
    ram_mib: int

    def fit(self, parts_mib: list[int]) -> Fit:
        """``parts_mib``: sizes of a model's parts."""
        if sum(parts_mib) <= self.device_mib:
            return Fit.WHOLE
        if max(parts_mib) <= self.device_mib:
            return Fit.PART_BY_PART
        return Fit.LAYER_BY_LAYER


def budget_of(kind: str, free_mib: int, leave_free_mib: int, ram_free_mib: int) -> Budget:
    """``free_mib`` of the device before anything is loaded. Where its memory is the machine's own there is no second tier."""
    usable = (free_mib or UNKNOWN_MIB) - leave_free_mib
    reserve = max(RESERVE_MIB, int(usable * RESERVE_SHARE))
    return Budget(max(usable - reserve, 0), int(ram_free_mib * RAM_SHARE) if kind == "cuda" else 0)


@dataclass(frozen=True, slots=True)
class Move:
    key: Hashable
    to: Tier


class Shelves:
    """Least recently used models make room: from the device to the machine's memory, from there to disk."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._sizes: OrderedDict[Hashable, int] = OrderedDict()
        self._tiers: dict[Hashable, Tier] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._sizes

    def tier(self, key: Hashable) -> Tier:
        return self._tiers.get(key, Tier.DISK)

    def take_in(self, key: Hashable, mib: int) -> list[Move]:
        """The model comes to the device, as the last used. Returns the moves of others that make room, in their order."""
        self._sizes[key] = mib
        self._sizes.move_to_end(key)
        self._tiers[key] = Tier.DEVICE
        moves = []
        while self._used(Tier.DEVICE) > self._budget.device_mib and (oldest := self._oldest(Tier.DEVICE, key)) is not None:
            moves += self._push_out(oldest)
        return moves

    def keep_last(self, count: int) -> list[Move]:
        """Only the last used so many stay on the device."""
        held = [key for key in self._sizes if self._tiers[key] is Tier.DEVICE]
        return [move for key in held[: max(len(held) - count, 0)] for move in self._push_out(key)]

    def forget(self, key: Hashable) -> None:
        self._sizes.pop(key, None)
        self._tiers.pop(key, None)

    def _push_out(self, key: Hashable) -> list[Move]:
        """To the machine's memory if it can be held there at all, and from there what has to go for it."""
        if self._sizes[key] > self._budget.ram_mib:
            self.forget(key)
            return [Move(key, Tier.DISK)]
        self._tiers[key], dropped = Tier.RAM, []
        while self._used(Tier.RAM) > self._budget.ram_mib and (oldest := self._oldest(Tier.RAM, key)) is not None:
            self.forget(oldest)
            dropped.append(Move(oldest, Tier.DISK))
        return [*dropped, Move(key, Tier.RAM)]

    def _used(self, tier: Tier) -> int:
        return sum(mib for key, mib in self._sizes.items() if self._tiers[key] is tier)

    def _oldest(self, tier: Tier, but: Hashable) -> Hashable | None:
        return next((key for key in self._sizes if self._tiers[key] is tier and key != but), None)
