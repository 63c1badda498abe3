"""The log on disk: one process at a time, nothing lost that was promised, limits on what is read."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshgen.identity import Identity
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.store import LEDGER_FILE, Batch, Disk, open_read_only, open_store
from meshgen.ledger.verify import verify_home
from meshgen.protocols.codec import encode
from meshgen.protocols.credit import FORK, MAX_RANGE_BYTES, MAX_RANGE_ENTRIES, PROOF, decode_entry, make_entry
from tests.ledger.people import EXPIRES_MS, NET, START_MS, Author, author, job

ME = Identity.from_seed(bytes(32))
ROOT = Path(__file__).parents[2]


@contextmanager
def crasher(home: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.ledger.crasher", str(home)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout
    return [process.stdout.readline() for _ in range(count)]


@pytest.mark.parametrize("lines", [1, 20, 57])
async def test_what_was_told_survives_kill_9(tmp_path: Path, lines: int) -> None:
    """Twice over: the second life goes on where the first was cut."""
    told: dict[int, str] = {}
    for _ in range(2):
        with crasher(tmp_path) as process:
            seen = read_lines(process, lines)
            process.kill()
            assert process.stdout
            seen += process.stdout.readlines()
        whole = [line.split() for line in seen if line.endswith("\n")]
        told |= {int(seq): entry_id for seq, entry_id in whole}
    async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS) as ledger:
        held: dict[int, str] = {}
        while wires := ledger.entries(ME.public_key, len(held) + 1, ledger.head().seq):
            held |= {entry.seq: entry.id.hex() for entry in map(decode_entry, wires)}
        assert told.items() <= held.items()
        assert list(held) == list(range(1, ledger.head().seq + 1))
        bob = author(2)
        await ledger.hold(job(1), bob.key, 1, EXPIRES_MS, bob.head)
    report = verify_home(tmp_path)
    assert report.ok
    assert report.entries == len(held) + 1


async def test_two_processes_cant_share_a_home(tmp_path: Path) -> None:
    with crasher(tmp_path) as process:
        read_lines(process, 1)
        with pytest.raises(LedgerError, match="another meshgen process uses"):
            async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS):
                pass
        assert verify_home(tmp_path).ok  # reading a running node's log is no trouble
    async with open_ledger(tmp_path, ME, NET, now_ms=lambda: START_MS):
        pass


def test_the_lock_holds_within_a_process_too(tmp_path: Path) -> None:
    with open_store(tmp_path), pytest.raises(LedgerError, match="another meshgen process"), open_store(tmp_path):
        pass


def test_ranges_are_bounded_in_number_and_in_bytes() -> None:
    alice = author(1)
    while len(alice.entries) < MAX_RANGE_ENTRIES + 10:
        seq, prev = alice.head.seq + 1, alice.head.id
        data = (FORK, bytes(1000), bytes(64), bytes(1000), bytes(64)) if seq > 700 else (FORK, b"-", bytes(64), b"-", bytes(64))
        alice.entries.append(make_entry(alice.identity, NET, seq, prev, START_MS, kind=PROOF, data=data))
    with open_store(None) as store:
        store.write(Batch(alice.entries), durable=False)
        assert store.wires(alice.key, 1, 10) == alice.wires[:10]
        assert store.wires(alice.key, 5, 4) == []
        assert store.wires(author(9).key, 1, 10) == []
        large = store.wires(alice.key, 701, 2000)
        assert 0 < len(encode(tuple(large))) <= MAX_RANGE_BYTES
        assert len(encode((*large, alice.wires[700 + len(large)]))) > MAX_RANGE_BYTES
        assert len(store.wires(alice.key, 1, 2000)) < MAX_RANGE_ENTRIES
    small = Author(alice.identity, entries=alice.entries[:700])
    with open_store(None) as store:
        store.write(Batch(small.entries), durable=False)
        assert len(store.wires(alice.key, 1, 2**53 - 1)) == 700


def test_a_batch_is_written_whole_or_not_at_all() -> None:
    alice = author(1)
    alice.hold(author(2), 1)
    with open_store(None) as store:
        with pytest.raises(sqlite3.IntegrityError):
            store.write(Batch([*alice.entries, alice.entries[0]]), durable=False)
        assert store.wires(alice.key, 1, 10) == []
        store.write(Batch(alice.entries), durable=False)
        assert store.wires(alice.key, 1, 10) == alice.wires


@pytest.mark.parametrize("content", [b"not a database, whatever its name says" * 50, b"SQLite format 3\0" + bytes(4080)])
def test_a_file_that_is_no_log_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LEDGER_FILE).write_bytes(content)
    with pytest.raises(LedgerError, match="credit log"), open_store(tmp_path):
        pass
    with pytest.raises(LedgerError, match="credit log"), open_read_only(tmp_path):
        pass


def test_a_log_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / LEDGER_FILE) as connection:
        connection.execute("PRAGMA user_version=9")
    with pytest.raises(LedgerError, match="schema 9"), open_store(tmp_path):
        pass
    with pytest.raises(LedgerError, match="schema 9"), open_read_only(tmp_path):
        pass


def test_no_log_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no credit log"), open_read_only(tmp_path / "nothing"):
        pass


# -- a disk in memory


class Crash(Exception):
    pass


def crash() -> None:
    raise Crash


async def test_a_disk_in_memory_outlives_its_ledger() -> None:
    disk, bob = Disk(), author(2)
    async with open_ledger(disk, ME, NET, now_ms=lambda: START_MS) as ledger:
        await ledger.hold(job(1), bob.key, 1, EXPIRES_MS, bob.head)
        with pytest.raises(LedgerError, match="another ledger"), open_store(disk):
            pass
    backup = disk.copy()
    async with open_ledger(disk, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.head().seq == 2
        await ledger.hold(job(2), bob.key, 1, EXPIRES_MS, bob.head)
    async with open_ledger(backup, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.head().seq == 2


@pytest.mark.parametrize(("hook", "head"), [("before_write", 1), ("after_write", 2)])
async def test_a_crash_at_a_write_leaves_it_whole_or_not_begun(hook: str, head: int) -> None:
    disk, bob = Disk(), author(2)
    with pytest.raises(Crash):
        async with open_ledger(disk, ME, NET, now_ms=lambda: START_MS) as ledger:
            setattr(disk, hook, crash)
            with pytest.raises(Crash):
                await ledger.hold(job(1), bob.key, 1, EXPIRES_MS, bob.head)
            with pytest.raises(LedgerError, match="interrupted"):
                await ledger.hold(job(2), bob.key, 1, EXPIRES_MS, bob.head)
            assert ledger.head().seq == 1
            raise Crash
    setattr(disk, hook, lambda: None)
    async with open_ledger(disk, ME, NET, now_ms=lambda: START_MS) as ledger:
        assert ledger.head().seq == head
