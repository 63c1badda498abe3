"""Which chains a peer keeps, and how much it takes from those who mean nothing to anybody."""

from __future__ import annotations

from collections.abc import Callable

from meshgen.ledger.ledger import Ledger
from meshgen.protocols.charter import CharterLimits

DAY_MS = 24 * 3600 * 1000
MAX_STRANGER_ENTRIES = CharterLimits().stranger_entries
"""New entries a day of an author whom nobody owes anything, unless the mesh's charter says otherwise."""
MAX_NEW_AUTHORS = 20_000
"""Authors a day whose first entries are taken in."""
MAX_DEALING_ENTRIES = 500_000
"""New entries a day of strangers with whom there is a job in the making, all together: who has asked much of others and never
worked has a long chain, and a worker that meets it for the first time needs all of it."""
MAX_STRANGER_FORKS = 1000
"""Proofs a day against authors of whom nothing is kept here: keys cost nothing, and each can fork."""
FRESH_MS = 10_000
"""The neighbourhood is worked out again at most so often."""


class Interest:
    """``keep_all`` is an archivist's. Others keep their counterparties, three hops of whom they owe, and their accounts' devices.

    ``kin`` are devices of the own account that were named when this one joined it. ``stranger_entries`` may
    change with the charter.
    """

    def __init__(
        self,
        ledger: Ledger,
        now_ms: Callable[[], int],
        *,
        keep_all: bool = False,
        follow: frozenset[bytes] = frozenset(),
        kin: frozenset[bytes] = frozenset(),
    ):
        self._ledger = ledger
        self._now_ms = now_ms
        self._follow = follow
        self._kin = kin
        self._near: frozenset[bytes] = frozenset()
        self._near_at_ms = -FRESH_MS
        self._day = -1
        self._taken: dict[bytes, int] = {}  # stranger -> entries taken today
        self._newcomers = 0
        self._accused = 0
        self._dealt = 0
        self.keep_all = keep_all
        self.admits: Callable[[bytes], bool] = lambda _: True
        """May anything of this author be kept at all?"""
        self.stranger_entries = MAX_STRANGER_ENTRIES

    def follow(self, authors: frozenset[bytes]) -> None:
        self._follow = authors

    def keeps(self, author: bytes) -> bool:
        if not self.admits(author):
            return False
        return self.keep_all or bool(self._ledger.known(author).seq) or author in self._follow or self._is_near(author)

    def _is_near(self, author: bytes) -> bool:
        """A key that recovers one whose log is kept is named by nobody; its owner counts on being heard."""
        return author in self.near() or self._ledger.accounts.foresees(author)

    def near(self) -> frozenset[bytes]:
        """Those we deal with, whom we owe, and whom they owe: what standing over three hops can pass through."""
        now = self._now_ms()
        if now - self._near_at_ms >= FRESH_MS:
            self._near, self._near_at_ms = self._neighbourhood(), now
        return self._near

    def _neighbourhood(self) -> frozenset[bytes]:
        me, edges = self._ledger.identity.public_key, self._ledger.edges()
        dealt = {other for sides in edges if me in sides for other in sides} - {me}
        owed = {payee for payer, payee in edges if payer == me}
        return self._with_devices({me} | self._kin | dealt | {payee for payer, payee in edges if payer in owed}) - {me}

    def _with_devices(self, authors: set[bytes]) -> frozenset[bytes]:
        """And whomever they have let into their accounts, and those in turn: they stand together."""
        found, waiting = set(authors), list(authors)
        for author in waiting:
            devices = self._ledger.accounts.named_by(author) - found
            found |= devices
            waiting += sorted(devices)
        return frozenset(found)

    # -- quotas

    def may_add(self, author: bytes, *, dealing: bool = False) -> bool:
        """May another range of this author be taken in today? ``dealing``: in the course of a job with it."""
        self._turn_day()
        if not self.admits(author):
            return False
        if not self._is_stranger(author):
            return True
        if dealing:
            return self._dealt < MAX_DEALING_ENTRIES
        if not self._ledger.known(author).seq and self._newcomers >= MAX_NEW_AUTHORS:
            return False
        return self._taken.get(author, 0) < self.stranger_entries

    def added(self, author: bytes, entries: int, *, dealing: bool = False) -> None:
        self._turn_day()
        if not self._is_stranger(author):
            return
        if dealing:
            self._dealt += entries
        else:
            self._newcomers += author not in self._taken
            self._taken[author] = self._taken.get(author, 0) + entries

    def may_accuse(self, author: bytes) -> bool:
        """May a proof of this author's fork be taken in today?"""
        self._turn_day()
        return self._accused < MAX_STRANGER_FORKS or bool(self._ledger.known(author).seq) or not self._is_stranger(author)

    def accused(self, author: bytes) -> None:
        self._accused += not self._ledger.known(author).seq

    def _is_stranger(self, author: bytes) -> bool:
        """Not this node itself: all that a backup has lost is taken back, on the same day."""
        known = author in self._follow or author == self._ledger.identity.public_key or author in self.near()
        return not known and not self._ledger.balance(author).earned

    def _turn_day(self) -> None:
        day = self._now_ms() // DAY_MS
        if day != self._day:
            self._day, self._newcomers, self._accused, self._dealt = day, 0, 0, 0
            self._taken.clear()
