"""A process of its own: takes in a million entries, as a node does that was away, and tells what memory it holds on the way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import trio

from meshgen.identity import Identity
from meshgen.ledger.books import Books
from meshgen.ledger.ledger import open_ledger
from meshgen.protocols.credit import decode_entry
from tests.bench.credit_world import NET, START_MS, Written, write_chain

TOTAL = 1_000_000
LENGTH = 20_480
"""Entries a chain."""
TOLD = (100_000, 300_000, TOTAL)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="meshgen-memory-") as folder:
        trio.run(_take_in, Path(folder))
    _fold()


async def _take_in(home: Path) -> None:
    taken, told = 0, list(TOLD)
    async with open_ledger(home, Identity.from_seed(bytes(32)), NET, now_ms=lambda: START_MS + 10**9) as ledger:
        for one in _chains():
            for wires in one.ranges():
                await ledger.add(one.author, wires, head_mode=True)
                taken += len(wires)
                if told and taken >= told[0]:
                    _tell("synced", told.pop(0))


def _fold() -> None:
    books, taken, told = Books(), 0, list(TOLD)
    for one in _chains():
        for wire in one.wires:
            books.add(decode_entry(wire, verify=False))
            taken += 1
            if told and taken >= told[0]:
                _tell("folded", told.pop(0))


def _chains() -> Iterator[Written]:
    """Signed at the end of each range only, so that a million are made soon."""
    people = TOTAL // LENGTH + 1
    for number in range(people):
        yield write_chain(number, LENGTH, people, signed=False)


def _tell(what: str, count: int) -> None:
    print(f"memory after {count:,} entries {what}, MB {psutil.Process().memory_info().rss / 1e6:.1f}", flush=True)


if __name__ == "__main__":
    main()
