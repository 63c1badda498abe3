"""Who calls the API, by what they show: the owner, somebody with one of the node's shared keys, or nobody in particular."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

ANONYMOUS_KEY = "0000000000"
"""AI Horde's key of those who have none."""


class KeyLimit(Exception):
    """A shared key does not allow this. ``rc`` is AI Horde's code; the text is for people."""

    def __init__(self, rc: str, message: str) -> None:
        super().__init__(message)
        self.rc = rc


@dataclass(frozen=True, slots=True)
class Caller:
    """``key_id`` tells callers apart (limits by key, one caller's jobs from another's); it is no secret."""

    kind: Literal["owner", "shared", "anonymous"]
    key_id: str
    name: str = ""


OWNER = Caller("owner", "owner")
ANONYMOUS = Caller("anonymous", "anonymous", "Anonymous")


class Keys(Protocol):
    """:class:`meshgen.gateway.keys.KeyRing`."""

    def caller(self, key: str, *, local: bool) -> Caller | None:
        """None for a key that is not known, or no longer valid. ``local``: the call comes from this machine, and from no
        other site's page."""

    def check(self, caller: Caller, *, pixels: int = 0, steps: int = 0, tokens: int = 0, mkudos: int = 0) -> None:
        """May it ask for this? ``mkudos`` is the most that it may cost. Raises KeyLimit."""

    def left(self, caller: Caller) -> int | None:
        """What it may still spend, milli-kudos; None = no bound of its own."""

    def charge(self, caller: Caller, mkudos: int) -> None:
        """What a job of that caller's has cost."""
