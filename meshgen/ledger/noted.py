"""A dict that can tell what was set in it since it was last asked, so that what follows from it is not worked out anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Noted(dict[K, V]):
    """Only items that are set are noted (``noted[key] = value``), and none before the first question, which is about all."""

    __slots__ = ("_changes",)

    def __init__(self, items: Iterable[tuple[K, V]] = ()) -> None:
        super().__init__(items)
        self._changes: dict[K, None] | None = None

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if self._changes is not None:
            self._changes[key] = None

    def changes(self) -> dict[K, None]:
        """The keys that were set since the last call, in order, each once; all keys at the first call."""
        changes = dict.fromkeys(self) if self._changes is None else self._changes
        self._changes = {}
        return changes
