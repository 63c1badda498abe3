"""May this entry stand here? Validity is a pure function of one chain's prefix and the signatures embedded in it.

No clock, no other chain, no balance is asked, so any two peers that hold the same prefix judge alike, and a verdict can be
proved to a third. An overdraft is therefore never invalid; whether it is served is local policy
(:mod:`meshgen.ledger.standing`).

A hold goes one way: HOLD -> RECEIPT (paid) or HOLD -> RELEASE (taken back), both by its payer. The payee's CLAIM is an entry
of another chain: valid by the payer's voucher alone, worth what the fold makes of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from meshgen.ledger.errors import InvalidEntry
from meshgen.protocols.credit import (
    GENESIS,
    MAX_HOLD_MS,
    NO_HEAD,
    Bill,
    Claim,
    Consent,
    Entry,
    Head,
    Hold,
    Receipt,
    Release,
    Voucher,
)


@dataclass(slots=True)
class Chain:
    """What must be remembered of one chain to judge its next entry."""

    net: bytes
    author: bytes
    head: Head = NO_HEAD
    ts_ms: int = 0
    holds: dict[bytes, Hold] = field(default_factory=dict)  # by entry id; open ones only
    claims: dict[bytes, int] = field(default_factory=dict)  # hold id -> the amount claimed last

    def append(self, entry: Entry, *, embedded: bool = True) -> None:
        """Judge ``entry`` and take it in; its own signature has been judged before. Raises InvalidEntry and stays as it was.

        ``embedded=False`` trusts the bill's, voucher's or consent's signature inside: for entries that were judged before.
        """
        self._check_link(entry)
        match entry.content:
            case Hold() as hold:
                self._check_hold(hold, entry.ts_ms)
                self.holds[entry.id] = hold
            case Receipt() as receipt:
                self._check_receipt(receipt, embedded)
                del self.holds[receipt.hold_id]
            case Claim() as claim:
                self._check_claim(claim, embedded)
                self.claims[claim.hold_id] = claim.amount
            case Release() as release:
                self._check_release(release, entry.ts_ms, embedded)
                del self.holds[release.hold_id]
        self.head, self.ts_ms = entry.head, entry.ts_ms

    def _check_link(self, entry: Entry) -> None:
        if entry.net != self.net:
            raise InvalidEntry("it belongs to another mesh")
        if entry.author != self.author:
            raise InvalidEntry("it is of another author")
        if entry.seq != self.head.seq + 1:
            raise InvalidEntry(f"it is number {entry.seq} where {self.head.seq + 1} belongs")
        if entry.prev != self.head.id:
            raise InvalidEntry("it does not follow the entry before it (prev differs)")
        if entry.ts_ms < self.ts_ms:
            raise InvalidEntry("it is dated before the entry before it")
        if (entry.kind == GENESIS) != (entry.seq == 1):
            raise InvalidEntry("a chain begins with its one GENESIS")

    def _check_hold(self, hold: Hold, ts_ms: int) -> None:
        if hold.payee == self.author:
            raise InvalidEntry("a HOLD for oneself")
        if not ts_ms < hold.expires_ms <= ts_ms + MAX_HOLD_MS:
            raise InvalidEntry(f"a HOLD expires after it is made and within {MAX_HOLD_MS} ms")

    def _check_receipt(self, receipt: Receipt, embedded: bool) -> None:
        hold = self._open_hold(receipt.hold_id)
        if (receipt.job, receipt.payee) != (hold.job, hold.payee):
            raise InvalidEntry("the RECEIPT names another job or payee than its HOLD")
        if receipt.amount > hold.amount:
            raise InvalidEntry(f"a RECEIPT of {receipt.amount} over a HOLD of {hold.amount}")
        if embedded and not self.bill_of(receipt).is_signed():
            raise InvalidEntry("the RECEIPT's bill is not signed by its payee")

    def _check_claim(self, claim: Claim, embedded: bool) -> None:
        if claim.payer == self.author:
            raise InvalidEntry("a CLAIM on oneself")
        if claim.amount <= self.claims.get(claim.hold_id, -1):
            raise InvalidEntry("a CLAIM that is not above the one before on the same HOLD")
        if embedded and not self.voucher_of(claim).is_signed():
            raise InvalidEntry("the CLAIM's voucher is not signed by its payer")

    def _check_release(self, release: Release, ts_ms: int, embedded: bool) -> None:
        hold = self._open_hold(release.hold_id)
        if not release.payee_sig:
            if ts_ms < hold.expires_ms:
                raise InvalidEntry("a RELEASE before the HOLD expires needs the payee's consent")
        elif embedded and not self.consent_of(release, hold.payee).is_signed():
            raise InvalidEntry("the RELEASE's consent is not signed by its payee")

    def _open_hold(self, hold_id: bytes) -> Hold:
        hold = self.holds.get(hold_id)
        if hold is None:
            raise InvalidEntry("this chain has no open HOLD of that id")
        return hold

    def bill_of(self, receipt: Receipt) -> Bill:
        """The bill that a receipt of this chain embeds."""
        hold_id, payee = receipt.hold_id, receipt.payee
        return Bill(self.net, receipt.job, hold_id, self.author, payee, receipt.amount, receipt.result, receipt.bill_sig)

    def voucher_of(self, claim: Claim) -> Voucher:
        """The voucher that a claim of this chain embeds."""
        return Voucher(self.net, claim.hold_id, claim.payer, self.author, claim.amount, claim.voucher_sig)

    def consent_of(self, release: Release, payee: bytes) -> Consent:
        """The consent that a release of this chain embeds."""
        return Consent(self.net, release.hold_id, self.author, payee, release.payee_sig)


def replay(net: bytes, author: bytes, entries: Iterable[Entry]) -> Chain:
    """The chain that these entries make. Raises InvalidEntry at the first that may not stand."""
    chain = Chain(net, author)
    for entry in entries:
        chain.append(entry)
    return chain
