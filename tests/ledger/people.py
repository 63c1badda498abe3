"""People for the ledger's tests: authors who write chains entry by entry, valid or not as the test wishes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from meshgen.identity import Identity
from meshgen.protocols.credit import (
    NO_HEAD,
    Bill,
    Claim,
    Consent,
    Content,
    Entry,
    Genesis,
    Head,
    Hold,
    Receipt,
    Release,
    Voucher,
    make_entry,
    net_id,
)

NET = net_id(b"a mesh for tests")
OTHER_NET = net_id(b"another mesh")
START_MS = 1_789_000_000_000
EXPIRES_MS = START_MS + 60_000
RESULT = hashlib.sha256(b"a result").digest()


def job(number: int) -> bytes:
    return hashlib.sha256(b"job %d" % number).digest()


@dataclass
class Author:
    """Writes whatever it is told to; nothing is judged here."""

    identity: Identity
    net: bytes = NET
    entries: list[Entry] = field(default_factory=list)

    @property
    def key(self) -> bytes:
        return self.identity.public_key

    @property
    def head(self) -> Head:
        return self.entries[-1].head if self.entries else NO_HEAD

    @property
    def wires(self) -> list[bytes]:
        return [entry.wire for entry in self.entries]

    def write(self, content: Content, ts_ms: int = START_MS) -> Entry:
        entry = self.draft(content, ts_ms)
        self.entries.append(entry)
        return entry

    def draft(self, content: Content, ts_ms: int = START_MS) -> Entry:
        """The entry that would come next, not appended."""
        seq, prev = self.head.seq + 1, self.head.id
        return make_entry(self.identity, self.net, seq, prev, ts_ms, kind=content.KIND, data=content.data())

    def copy(self) -> Author:
        """The same key with the same past: what it writes from here on is a fork."""
        return Author(self.identity, self.net, list(self.entries))

    def hold(self, payee: Author, amount: int, number: int = 0, expires_ms: int = EXPIRES_MS, ts_ms: int = START_MS) -> Entry:
        return self.write(Hold(job(number), payee.key, amount, expires_ms, payee.head.seq, payee.head.id), ts_ms)


def author(number: int, net: bytes = NET) -> Author:
    """A person with a GENESIS; the same number is the same key."""
    person = Author(Identity.from_seed(hashlib.sha256(b"person %d" % number).digest()), net)
    person.write(Genesis(b"", hashlib.sha256(b"next %d" % number).digest(), f"person {number}"))
    return person


def bill(payee: Author, hold: Entry, amount: int, result: bytes = RESULT) -> Bill:
    terms = Hold.from_entry(hold)
    return Bill(hold.net, terms.job, hold.id, hold.author, terms.payee, amount, result).sign(payee.identity)


def voucher(payer: Author, hold: Entry, amount: int) -> Voucher:
    return Voucher(hold.net, hold.id, hold.author, Hold.from_entry(hold).payee, amount).sign(payer.identity)


def consent(payee: Author, hold: Entry) -> Consent:
    return Consent(hold.net, hold.id, hold.author, payee.key).sign(payee.identity)


def receipt(payee: Author, hold: Entry, amount: int) -> Receipt:
    note = bill(payee, hold, amount)
    return Receipt(note.job, note.hold_id, note.payee, note.amount, note.result, 1, note.sig)


def claim(payer: Author, hold: Entry, amount: int) -> Claim:
    return Claim(hold.id, hold.seq, payer.key, amount, voucher(payer, hold, amount).sig, RESULT)


def release(hold: Entry, payee: Author | None = None) -> Release:
    return Release(hold.id, 0, consent(payee, hold).sig if payee else b"")
