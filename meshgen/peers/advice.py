"""What those whom this peer follows recommend. Nobody else's advice is heard, and nobody's is passed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshgen.ledger.ledger import Ledger
from meshgen.ledger.promises import AdvisoryWord
from meshgen.protocols.credit import RECOMMENDATIONS, SUBJECT_TYPES, Advisory

TRUST, AVOID = RECOMMENDATIONS.index("trust"), RECOMMENDATIONS.index("avoid")


@dataclass(frozen=True, slots=True)
class Word:
    """What a person has to say about a peer or a model."""

    is_model: bool
    subject: bytes
    """The peer's key or the model's digest."""
    recommendation: str
    label: str
    list: str

    def content(self, expires_ms: int, *, withdraw: bool = False) -> Advisory:
        """Raises Malformed."""
        kind, said = SUBJECT_TYPES.index("model" if self.is_model else "peer"), RECOMMENDATIONS.index(self.recommendation)
        return Advisory(self.list, int(withdraw), kind, self.subject, self.label, said, expires_ms, b"")


class Advice:
    """``follow`` are the keys of those whose advisories count here."""

    def __init__(self, ledger: Ledger, follow: frozenset[bytes], now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._now_ms = now_ms
        self.follow = follow
        self.exempts: Callable[[bytes], bool] = lambda _: False
        """Whom no advice counts against: the owner's word goes before others'."""

    def of_peer(self, key: bytes) -> list[tuple[bytes, AdvisoryWord]]:
        """(who says so, what), of the peer itself and of its account, as far as that is known."""
        if not self.follow:
            return []
        account = self._ledger.account_of(key)
        return self.of(key) + (self.of(account) if account != key else [])

    def heard(self, subject: bytes) -> list[tuple[bytes, AdvisoryWord]]:
        """What anybody says of it whose log is kept here, followed or not."""
        return list(self._ledger.promises.advice(None, subject, self._now_ms()))

    def of(self, subject: bytes) -> list[tuple[bytes, AdvisoryWord]]:
        """Of a peer's key, an account's id or a model's digest."""
        return list(self._ledger.promises.advice(self.follow, subject, self._now_ms())) if self.follow else []

    def avoids(self, key: bytes) -> bool:
        """More of them say to avoid this peer than to trust it."""
        if not self.follow or self.exempts(key):
            return False
        said = [word.advisory.recommendation for _, word in self.of_peer(key)]
        return said.count(AVOID) > said.count(TRUST)


def advisory_view(word: AdvisoryWord) -> dict[str, Any]:
    """Fit for JSON. Labels and lists are strangers' words."""
    said = word.advisory
    number = said.recommendation
    recommendation = RECOMMENDATIONS[number] if number < len(RECOMMENDATIONS) else str(number)
    return {"recommendation": recommendation, "why": said.label, "list": said.list, "expires_ms": said.expires_ms}
