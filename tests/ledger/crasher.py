"""A process to be killed: appends to the chain in HOME without end, eight at a time, and tells each entry once it is durable."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from meshgen.identity import Identity
from meshgen.ledger.ledger import open_ledger
from tests.ledger.people import EXPIRES_MS, NET, START_MS, author, job

TASKS = 8


async def main(home: Path) -> None:
    bob = author(2)
    async with open_ledger(home, Identity.from_seed(bytes(32)), NET, now_ms=lambda: START_MS) as ledger:

        async def append() -> None:
            while True:
                entry = await ledger.hold(job(0), bob.key, 1, EXPIRES_MS, bob.head)
                print(entry.seq, entry.id.hex(), flush=True)

        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(append)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
