"""A log in memory as one peer holds it, with everybody's standing there: what tests of standing are told as a story."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshgen.ledger.accounts import Accounts
from meshgen.ledger.books import Books
from meshgen.ledger.fold import Line, explain, gather
from meshgen.ledger.promises import Promises
from meshgen.ledger.standings import Standings
from meshgen.protocols.credit import Entry, Genesis, Key
from tests.ledger.people import EXPIRES_MS, START_MS, Author, receipt


@dataclass
class Known:
    me: Author
    accounts: Accounts = field(default_factory=Accounts)
    promises: Promises = field(default_factory=Promises)
    now_ms: int = START_MS
    jobs: int = 0
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.books = Books(dealt=self._dealt)
        self.standings = Standings(self.me.key, self.books.edges, self.promises.vouches, self.accounts)
        self.take(*self.me.entries)

    def _dealt(self, payer: bytes, payee: bytes) -> None:
        self.standings.dealt(payer, payee)

    def take(self, *entries: Entry) -> None:
        self.entries += entries
        for entry in entries:
            self.books.add(entry)
            self.accounts.add(entry)
            if vouch := self.promises.add(entry):
                self.standings.vouching(*vouch)
            if isinstance(entry.content, Genesis | Key):
                self.standings.joining(entry.author)

    def works(self, worker: Author, payer: Author, amount: int) -> None:
        """``worker`` did a job for ``payer``, who now owes it ``amount`` more."""
        self.jobs += 1
        hold = payer.hold(worker, amount, self.jobs, EXPIRES_MS)
        self.take(hold, payer.write(receipt(worker, hold, amount)))

    def credit(self, requester: Author) -> int:
        return self.standings.credit(requester.key, self.now_ms)

    def between(self, payer: bytes, payee: bytes) -> list[Line]:
        return [line for line in explain(gather(self.entries), payer) if (line.payer, line.payee) == (payer, payee)]
