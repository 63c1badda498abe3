"""What those whom this peer follows recommend. Nobody else's advice is heard, and nobody's is passed on."""

from __future__ import annotations

from collections.abc import Callable

from meshgen.ledger.ledger import Ledger
from meshgen.ledger.promises import AdvisoryWord

TRUST, CAUTION, AVOID = range(3)


class Advice:
    """``follow`` are the keys of those whose advisories count here."""

    def __init__(self, ledger: Ledger, follow: frozenset[bytes], now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._now_ms = now_ms
        self.follow = follow

    def of_peer(self, key: bytes) -> list[tuple[bytes, AdvisoryWord]]:
        """(who says so, what), of the peer itself and of its account, as far as that is known."""
        if not self.follow:
            return []
        account = self._ledger.account_of(key)
        return self.of(key) + (self.of(account) if account != key else [])

    def of(self, subject: bytes) -> list[tuple[bytes, AdvisoryWord]]:
        """Of a peer's key, an account's id or a model's digest."""
        return list(self._ledger.promises.advice(self.follow, subject, self._now_ms())) if self.follow else []

    def avoids(self, key: bytes) -> bool:
        """More of them say to avoid this peer than to trust it."""
        said = [word.advisory.recommendation for _, word in self.of_peer(key)]
        return said.count(AVOID) > said.count(TRUST)

    def avoids_model(self, digest: bytes) -> bool:
        said = [word.advisory.recommendation for _, word in self.of(digest)]
        return said.count(AVOID) > said.count(TRUST)
