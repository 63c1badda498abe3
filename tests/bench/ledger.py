"""What the credit log costs: entries judged and stored next to bare signatures and rows of the same run, own appends, the fold.

Every rate stands next to this machine's own ceiling: nothing but ``cryptography`` verifying as many signatures on all cores, and
nothing but SQLite taking in the same rows, first the one, then the other. ``python -m tests.bench.ledger`` runs this part alone.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from meshgen.identity import Identity
from meshgen.ledger.books import Books
from meshgen.ledger.database import connect, prepare
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.protocols.credit import Bill, Entry, Head, Receipt, decode_entry
from tests.bench.credit_world import ENTRY_SIG_DOMAIN, NET, START_MS, Written, write_world

PEOPLE = 200
SIZES = (20_000, 60_000, 200_000)
BATCH_ROWS = 1024
PULLS = 4
"""Chains pulled at the same time, as a node does."""
FOLDED = 1_000_000
APPENDS = 300
TOGETHER = 32
ME = Identity.from_seed(bytes(32))
Signature = tuple[Ed25519PublicKey, bytes, bytes]


@dataclass(slots=True)
class Spent:
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def __truediv__(self, by: int) -> Spent:
        return Spent(self.wall_s / by, self.cpu_s / by)


@contextmanager
def measured() -> Iterator[Spent]:
    spent, wall, cpu = Spent(), time.perf_counter(), _cpu_s()
    yield spent
    spent.wall_s, spent.cpu_s = time.perf_counter() - wall, _cpu_s() - cpu


def _cpu_s() -> float:
    """Of this process, and of those that it has started and seen end."""
    return sum(os.times()[:4])


@dataclass(slots=True)
class Figures:
    """Name -> value, in the order of measuring."""

    rows: dict[str, float] = field(default_factory=dict)

    def rate(self, name: str, count: int, spent: Spent) -> None:
        self.rows[f"{name}, /s wall"] = count / spent.wall_s
        self.rows[f"{name}, /s of CPU"] = count / spent.cpu_s

    def share(self, name: str, bare: Spent, own: Spent) -> None:
        """How near to the ceiling: 1 is there."""
        self.rows[f"{name}, wall"] = bare.wall_s / own.wall_s
        self.rows[f"{name}, CPU"] = bare.cpu_s / own.cpu_s


def ledger(root: Path) -> dict[str, float]:
    """All figures; ``root`` is an empty folder on the disk that is meant."""
    root.mkdir(exist_ok=True)
    figures = Figures()
    world = write_world(PEOPLE, SIZES[-1] // PEOPLE)
    for size in SIZES:
        _intake(root / str(size), [Written(one.author, one.wires[: size // PEOPLE]) for one in world], size, figures)
    _fold(world, figures)
    _appends(root, figures)
    _memory(figures)
    return figures.rows


# -- judged and stored, next to the ceiling


def _intake(root: Path, world: Sequence[Written], size: int, figures: Figures) -> None:
    root.mkdir()
    before, rows = _raw_verify(world), _raw_rows(root / "raw.db", world)
    whole = _store(root / "whole", world, head_mode=False)
    signatures = (before + _raw_verify(world)) / 2  # a shared machine's rate wanders
    light = _store(root / "light", world, head_mode=True)
    name = f"{size:,} entries"
    figures.rate(f"{name}: bare signatures and rows", size, signatures + rows)
    figures.rate(f"{name}: every signature judged, stored", size, whole)
    figures.share(f"{name}: of the bare rate", signatures + rows, whole)
    figures.rate(f"{name}: bare rows", size, rows)
    figures.rate(f"{name}: head mode, stored", size, light)
    figures.share(f"{name}: head mode, of bare rows", rows, light)
    figures.rows[f"{name}: opened from the stored fold, s"] = _open(root / "whole")
    _forget_fold(root / "whole")
    figures.rows[f"{name}: opened entry by entry, s"] = _open(root / "whole")


def _raw_verify(world: Sequence[Written]) -> Spent:
    keys: dict[bytes, Ed25519PublicKey] = {}
    signatures = [signature for entry in _entries(world) for signature in _signatures(entry, keys)]
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool, measured() as spent:
        list(pool.map(_verify_all, [signatures[core::cores] for core in range(cores)]))
    return spent


def _entries(world: Sequence[Written]) -> Iterator[Entry]:
    return (decode_entry(wire, verify=False) for one in world for wire in one.wires)


def _signatures(entry: Entry, keys: dict[bytes, Ed25519PublicKey]) -> Iterator[Signature]:
    """An entry's own, and its bill's."""
    yield _key(entry.author, keys), entry.sig, ENTRY_SIG_DOMAIN + entry.id
    match entry.content:
        case Receipt(job, hold_id, payee, amount, result, _, sig):
            yield _key(payee, keys), sig, Bill.message(NET, job, hold_id, entry.author, payee, amount, result)


def _key(public: bytes, keys: dict[bytes, Ed25519PublicKey]) -> Ed25519PublicKey:
    key = keys.get(public)
    if key is None:
        key = keys[public] = Ed25519PublicKey.from_public_bytes(public)
    return key


def _verify_all(signatures: Sequence[Signature]) -> None:
    for key, sig, message in signatures:
        key.verify(sig, message)


def _raw_rows(file: Path, world: Sequence[Written]) -> Spent:
    aids = {one.author: aid for aid, one in enumerate(world, 1)}
    rows = [(aids[e.author], e.seq, e.id, e.kind, e.body, e.sig) for e in _entries(world)]
    with measured() as spent, closing(connect(str(file))) as connection:
        prepare(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        for start in range(0, len(rows), BATCH_ROWS):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", rows[start : start + BATCH_ROWS])
            connection.execute("COMMIT")
    return spent


def _store(home: Path, world: Sequence[Written], *, head_mode: bool) -> Spent:
    async def main() -> Spent:
        with measured() as spent:
            async with open_ledger(home, ME, NET, now_ms=lambda: START_MS + 10**9) as ledger:
                await _pull(ledger, world, head_mode)
                assert all(ledger.known(one.author).seq == len(one.wires) for one in world)
        return spent

    return trio.run(main)


async def _pull(ledger: Ledger, world: Sequence[Written], head_mode: bool) -> None:
    waiting = list(reversed(world))

    async def pull() -> None:
        while waiting:
            one = waiting.pop()
            for wires in one.ranges():
                await ledger.add(one.author, wires, head_mode=head_mode)

    async with trio.open_nursery() as nursery:
        for _ in range(PULLS):
            nursery.start_soon(pull)


def _open(home: Path) -> float:
    async def main() -> float:
        started = time.perf_counter()
        async with open_ledger(home, ME, NET, now_ms=lambda: START_MS):
            return time.perf_counter() - started

    return trio.run(main)


def _forget_fold(home: Path) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as connection, connection:
        connection.execute("DELETE FROM meta WHERE key = 'fold'")


# -- the fold


def _fold(world: Sequence[Written], figures: Figures) -> None:
    """The same jobs over and over: to the books each is a new one once the one before is over."""
    entries = list(_entries(world[:20]))
    for count in (FOLDED // 100, FOLDED // 10, FOLDED):
        books = Books()
        with measured() as spent:
            for index in range(count):
                books.add(entries[index % len(entries)])
        figures.rows[f"fold of {count:,} entries, /s"] = count / spent.wall_s


# -- own appends


def _appends(root: Path, figures: Figures) -> None:
    async def main() -> tuple[Spent, Spent]:
        payee, head = bytes(32), Head(1, bytes(32))
        async with open_ledger(root / "own", ME, NET, now_ms=lambda: START_MS) as ledger:

            async def append() -> None:
                await ledger.hold(bytes(32), payee, 1, START_MS + 1000, head)

            with measured() as single:
                for _ in range(APPENDS):
                    await append()
            with measured() as grouped:
                for _ in range(APPENDS // 10):
                    async with trio.open_nursery() as nursery:
                        for _ in range(TOGETHER):
                            nursery.start_soon(append)
        return single, grouped

    bare = _raw_appends(root / "bare.db")
    single, grouped = trio.run(main)
    figures.rows["bare SQLite, FULL, one row a commit, /s"] = APPENDS / bare.wall_s
    figures.rows["own appends, one after the other, /s"] = APPENDS / single.wall_s
    figures.rows["own appends, of the bare commits"] = bare.wall_s / single.wall_s
    figures.rows[f"own appends, {TOGETHER} at once, /s"] = APPENDS // 10 * TOGETHER / grouped.wall_s


def _raw_appends(file: Path) -> Spent:
    with closing(connect(str(file))) as connection:
        prepare(connection)
        connection.execute("PRAGMA synchronous=FULL")
        with measured() as spent:
            for seq in range(APPENDS):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO entry VALUES (1, ?, ?, 1, ?, ?)", (seq, bytes(32), bytes(210), bytes(64)))
                connection.execute("COMMIT")
    return spent


# -- memory


def _memory(figures: Figures) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.bench.memory"], check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        name, value = line.rsplit(" ", 1)
        figures.rows[name] = float(value)


def table(figures: dict[str, float]) -> str:
    return "\n".join(f"{name:<64} {value:>14,.2f}" for name, value in figures.items())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="meshgen-bench-") as folder:
        print(table(ledger(Path(folder))))
