"""Who belongs to a mesh whose charter lists its members: delegates, those on the roll, and the devices that these have let in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Literal

from meshgen.identity import peer_id
from meshgen.ledger.ledger import Ledger
from meshgen.peers.charters import Charters
from meshgen.peers.rolls import Rolls

FRESH_MS = 3000
"""A new device of a member's is known so soon after the member's log told of it."""
State = Literal["open", "member", "stranger", "expelled"]


class Membership:
    """Follows the charter, the roll and the logs: what holds is worked out again when one of them has changed."""

    def __init__(self, ledger: Ledger, charters: Charters, rolls: Rolls, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._charters = charters
        self._rolls = rolls
        self._now_ms = now_ms
        self._keys: frozenset[bytes] = frozenset()
        self._foreseen: frozenset[bytes] = frozenset()  # hashes of recovery keys
        self._worked_out_ms = -FRESH_MS
        rolls.on_change.append(self._forget)

    @property
    def open(self) -> bool:
        return self._charters.current.members == "open"

    @property
    def state(self) -> State:
        """This node's own."""
        if self.open:
            return "open"
        own = self._ledger.identity.public_key
        return "member" if self.includes(own) else "expelled" if self._is_expelled(own) else "stranger"

    def includes(self, key: bytes) -> bool:
        """And a key that one of them named for its recovery: it has no other way to be heard."""
        return self.open or key in self.keys() or (sha256(key).digest() in self._foreseen and not self._is_out(key))

    def keys(self) -> frozenset[bytes]:
        """All keys that are known to belong, in a mesh that lists its members."""
        if not 0 <= self._now_ms() - self._worked_out_ms < FRESH_MS:
            self._keys, self._worked_out_ms = self._work_out(), self._now_ms()
            self._foreseen = frozenset(map(self._ledger.accounts.commitment, self._keys)) - {b""}
        return self._keys

    def _forget(self) -> None:
        self._worked_out_ms = self._now_ms() - FRESH_MS

    def _work_out(self) -> frozenset[bytes]:
        """An entry may be a key or an account. Whoever is in brings those keys that its account's log adds or rotates to: a log
        that is kept nowhere yet can't speak for itself, and its account answers for it. Who is expelled brings nobody."""
        delegates, accounts = frozenset(self._charters.current.delegates), self._ledger.accounts
        waiting = sorted(delegates | self._rolls.roll.admitted)
        found: set[bytes] = set()
        for entry in waiting:
            if entry in found or (self._is_out(entry) and entry not in delegates):
                continue
            found.add(entry)
            waiting += sorted(
                {*accounts.members(entry), *accounts.members(accounts.account_of(entry)), *accounts.let_in_by(entry)}
            )
        return frozenset(key for key in found if not accounts.members(key))

    def _is_out(self, key: bytes) -> bool:
        member = self._ledger.accounts.member(key)
        return self._is_expelled(key) or (member is not None and member.retired)

    def _is_expelled(self, key: bytes) -> bool:
        return not self._rolls.roll.expelled.isdisjoint((key, self._ledger.account_of(key)))

    # -- for people

    def rows(self) -> list[dict[str, Any]]:
        """Those who belong, each with the delegates who have admitted it; then those whom the roll expels."""
        if self.open:
            return []
        return [self._row(key) for key in sorted(self.keys())] + [
            self._expelled(key) for key in sorted(self._rolls.roll.expelled)
        ]

    def _row(self, key: bytes) -> dict[str, Any]:
        listed = self._rolls.says(key)
        if key in self._charters.current.delegates:
            how = "delegate"
        elif len(listed) >= self._charters.current.roll_threshold:
            how = "admitted"
        else:
            how = "device"
        account = self._ledger.account_of(key)
        return {"peer_id": peer_id(key), "account": account.hex(), "how": how, "by": _peers(listed)}

    def _expelled(self, key: bytes) -> dict[str, Any]:
        devices = self._ledger.accounts.members(key)
        return {"peer_id": "" if devices else peer_id(key), "account": key.hex(), "how": "expelled", "by": []}


def _peers(keys: Iterable[bytes]) -> list[str]:
    return [peer_id(key) for key in keys]
