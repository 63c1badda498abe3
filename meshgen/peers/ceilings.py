"""A ceiling for heat or power: shut above it, open again once it is well below, so that it does not flutter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Ceiling:
    """``limit`` 0 is none. ``slack``: so far below the limit it opens again. ``unit`` as people read it."""

    name: str
    limit: float
    slack: float
    unit: str
    shut: bool = False
    value: float | None = None

    def see(self, value: float | None) -> None:
        """The newest reading; without one it stays as it is."""
        self.value = value
        if self.limit and value is not None:
            self.shut = value > (self.limit - self.slack if self.shut else self.limit)

    def __str__(self) -> str:
        value = "unknown" if self.value is None else f"{self.value:.0f}"
        return f"{self.name} {value} of at most {self.limit:.0f} {self.unit}; it goes on at {self.limit - self.slack:.0f}"
