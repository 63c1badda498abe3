"""May this entry stand here? Validity is a pure function of one chain's prefix and the signatures embedded in it.

No clock, no other chain, no balance is asked, so any two peers that hold the same prefix judge alike, and a verdict can be
proved to a third. An overdraft is therefore never invalid; whether it is served is local policy
(:mod:`meshgen.ledger.standing`).

A hold goes one way: HOLD -> RECEIPT (paid) or HOLD -> RELEASE (taken back), both by its payer. The payee's CLAIM is an entry
of another chain: valid by the payer's voucher alone, worth what the fold makes of it.

A KEY rotate closes its chain: the next key goes on in a chain of its own. A KEY recover opens one, as entry 2, in the name of a
lost key; whether that key's chain committed to this one is not this chain's to say (:mod:`meshgen.ledger.accounts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.forks import proven_by
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    ADD,
    FORK,
    GENESIS,
    MAX_HOLD_MS,
    MAX_PROMISE_MS,
    NO_HEAD,
    RECOVER,
    RETIRE,
    ROTATE,
    Advisory,
    Bill,
    CharterEntry,
    Checkpoint,
    Claim,
    Consent,
    Entry,
    Genesis,
    Head,
    Hold,
    Key,
    Proof,
    Receipt,
    Release,
    Transfer,
    Vouch,
    Voucher,
    Witness,
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
    account: bytes = b""  # the account's id that GENESIS names; its own id if it is the root
    next_hash: bytes = b""  # what GENESIS commits to
    closed: bool = False  # by a KEY rotate

    def append(self, entry: Entry, *, embedded: bool = True) -> None:
        """Judge ``entry`` and take it in; its own signature has been judged before. Raises InvalidEntry and stays as it was.

        ``embedded=False`` trusts the signatures inside (of bills, vouchers, consents, witnesses, proofs): for entries that were
        judged before.
        """
        self._check_link(entry)
        self.check_content(entry, embedded=embedded)
        self._take_in(entry)

    def _take_in(self, entry: Entry) -> None:
        match entry.content:
            case Hold() as hold:
                self.holds[entry.id] = hold
            case Receipt() | Release() as closing:
                del self.holds[closing.hold_id]
            case Claim() as claim:
                self.claims[claim.hold_id] = claim.amount
            case Genesis() as genesis:
                self.account, self.next_hash = genesis.account or entry.id, genesis.next_key_hash
            case Key() as key:
                self.closed = key.op == ROTATE
        self.head, self.ts_ms = entry.head, entry.ts_ms

    def check_content(self, entry: Entry, *, embedded: bool = True) -> None:
        """All rules but those of its place in the chain. Raises InvalidEntry."""
        match entry.content:
            case Hold() as hold:
                self._check_hold(hold, entry.ts_ms)
            case Receipt() as receipt:
                self._check_receipt(receipt, embedded)
            case Claim() as claim:
                self._check_claim(claim, embedded)
            case Release() as release:
                self._check_release(release, entry.ts_ms, embedded)
            case Key() as key:
                self._check_key(key, entry.seq)
            case _:
                self._check_word(entry, embedded)

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
        if self.closed:
            raise InvalidEntry("this chain was closed when its key was rotated")

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

    def _check_key(self, key: Key, seq: int) -> None:
        if key.key == self.author:
            raise InvalidEntry("a KEY about itself")
        if key.op == ROTATE and hashlib.sha256(key.key).digest() != self.next_hash:
            raise InvalidEntry("a rotation to another key than GENESIS committed to")
        if key.op == RECOVER and seq != 2:
            raise InvalidEntry("a recovery is the second entry of its chain")
        wanted = {ADD: (False, False), RETIRE: (False, True), ROTATE: (True, False), RECOVER: (False, True)}.get(key.op)
        if wanted is not None and (bool(key.next_hash), bool(key.at_id)) != wanted:
            raise InvalidEntry("a rotation, and nothing else, holds next_hash; retire and recover, and nothing else, hold at_id")
        if bool(key.at_seq) != bool(key.at_id):
            raise InvalidEntry("at_seq and at_id are given together")
        if key.budget and key.op != ADD:
            raise InvalidEntry("a budget belongs to an added device")

    def _check_word(self, entry: Entry, embedded: bool) -> None:
        """Entries that close nothing and open nothing."""
        match entry.content:
            case Transfer() as transfer:
                if transfer.payee == self.author or not transfer.amount:
                    raise InvalidEntry("a TRANSFER of nothing or to oneself")
            case Vouch() as vouch:
                if vouch.account == self.account:
                    raise InvalidEntry("a VOUCH for the own account")
                self._check_promise(vouch.expires_ms, entry.ts_ms)
            case Advisory() as advisory:
                self._check_promise(advisory.expires_ms, entry.ts_ms)
            case Checkpoint() as checkpoint:
                self._check_checkpoint(checkpoint, entry.seq, embedded)
            case Proof() as proof:
                self._check_proof(proof, embedded)
            case CharterEntry() as charter:
                if bool(charter.version) != bool(charter.parent):
                    raise InvalidEntry("a CHARTER of version 0 has no parent, and each later one has")

    @staticmethod
    def _check_promise(expires_ms: int, ts_ms: int) -> None:
        if not ts_ms < expires_ms <= ts_ms + MAX_PROMISE_MS:
            raise InvalidEntry(f"a word is given for a time ahead, of at most {MAX_PROMISE_MS} ms")

    def _check_checkpoint(self, checkpoint: Checkpoint, seq: int, embedded: bool) -> None:
        witnesses = [cosig.witness for cosig in checkpoint.cosigs]
        if checkpoint.upto_seq >= seq:
            raise InvalidEntry("a CHECKPOINT speaks of what comes before it")
        if self.author in witnesses or witnesses != sorted(set(witnesses)):
            raise InvalidEntry("a CHECKPOINT's witnesses are others, each once, in the order of their keys")
        if embedded and not all(note.is_signed() for note in self.witnesses_of(checkpoint)):
            raise InvalidEntry("a CHECKPOINT's witness has not signed it")

    def _check_proof(self, proof: Proof, embedded: bool) -> None:
        if proof.type != FORK or not embedded:
            return
        try:
            proven_by(proof, self.net)
        except Malformed as error:
            raise InvalidEntry(f"a PROOF that proves nothing: {error}") from None

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

    def witnesses_of(self, checkpoint: Checkpoint) -> list[Witness]:
        """The notes that a checkpoint of this chain embeds."""
        upto, sums = (checkpoint.upto_seq, checkpoint.upto_id), (checkpoint.earned, checkpoint.spent, checkpoint.held)
        fields = (self.net, self.author, *upto, *sums, checkpoint.peers_root)
        return [Witness(*fields, cosig.witness, cosig.sig) for cosig in checkpoint.cosigs]


def replay(net: bytes, author: bytes, entries: Iterable[Entry]) -> Chain:
    """The chain that these entries make. Raises InvalidEntry at the first that may not stand."""
    chain = Chain(net, author)
    for entry in entries:
        chain.append(entry)
    return chain
