"""Why the ledger says no. Each text can be shown to a person; none is a fault of the program."""

from __future__ import annotations


class LedgerError(Exception):
    """The ledger can't do this; the text says why."""


class Unusable(LedgerError):
    """The log can't be written any more, or is damaged. Whoever runs the node was told so once, when it happened."""


class Absent(LedgerError):
    """There is no log to be read: not yet, or not any more."""


class InvalidEntry(LedgerError):
    """An entry that may not stand where it would stand: see :mod:`meshgen.ledger.rules`."""


class Refused(LedgerError):
    """Foreign entries were refused. What came before the refused one in the same call was good and is kept."""


class BadChain(Refused):
    def __init__(self, seq: int, why: str) -> None:
        super().__init__(f"entry {seq}: {why}")
        self.seq = seq
        self.why = why


class Gap(Refused):
    """Entries are missing between what is known and what was brought."""

    def __init__(self, known_seq: int) -> None:
        super().__init__(f"entries are missing after {known_seq}: pull from {known_seq + 1}")
        self.known_seq = known_seq


class Early(Refused):
    """The entry is from too far in the future. It is not invalid: bring it again when its time has come."""

    def __init__(self, seq: int, ts_ms: int) -> None:
        super().__init__(f"entry {seq} is dated {ts_ms}, too far ahead of this peer's clock")
        self.seq = seq
        self.ts_ms = ts_ms


class Fork(Refused):
    """The author signed two different entries for one place in its chain; the ledger keeps both as evidence."""

    def __init__(self, author: bytes, seq: int, ids: tuple[bytes, bytes]) -> None:
        super().__init__(f"{author.hex()[:16]} signed two entries {seq}: {ids[0].hex()[:16]} and {ids[1].hex()[:16]}")
        self.author = author
        self.seq = seq
        self.ids = ids
