"""One key follows another: by rotation, in the old key's own log, or by recovery, in the log of the next key.

Each is a walk of steps that may be cut off anywhere: called again, it goes on from where it was.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from meshgen.cli import keyfiles
from meshgen.cli.faults import BadHome, Fault
from meshgen.home import read_account
from meshgen.identity import KEY_FILE, Identity, peer_id
from meshgen.ledger.errors import LedgerError, Refused
from meshgen.ledger.exported import Exported, read_export
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.ledger.store import Store, open_read_only
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import MAX_RANGE_ENTRIES, RECOVER, ROTATE, Genesis, Head, Key, decode_entry


@dataclass(frozen=True, slots=True)
class Succession:
    """What came of it."""

    account: bytes
    old: bytes
    new: Identity


@dataclass(frozen=True, slots=True)
class Lost:
    """A chain whose key is to be replaced, as far as it is known here."""

    author: bytes
    net: bytes
    account: bytes
    label: str
    head: Head


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# -- rotation


def rotate(home: Path, recovery: str | None) -> Succession:
    """Raises Fault. The node must not run: the ledger's lock says so."""
    if keyfiles.incoming_key(home):
        return trio.run(_finish_rotation, home)
    return trio.run(_rotate, home, keyfiles.own_key(home), keyfiles.recovery_key(home, recovery))


def next_keys(home: Path, recovery: str | None) -> tuple[bytes, bytes]:
    """(the next key, the hash of the one after it), for a running node to close its log with. Raises Fault."""
    keyfiles.own_key(home)
    after = keyfiles.key_after_next(home)
    return keyfiles.recovery_key(home, recovery).public_key, hashlib.sha256(after.public_key).digest()


async def _rotate(home: Path, old: Identity, new: Identity) -> Succession:
    net, account, label = _own_chain(home, old)
    async with open_ledger(home, old, net, now_ms=now_ms) as ledger:
        last = _last_key(ledger)
        if last is None or last.op != ROTATE:
            _ensure_whole(ledger)
            if hashlib.sha256(new.public_key).digest() != _genesis(ledger).next_key_hash:
                raise Fault(
                    "that recovery key is not the one that this log committed to when it began",
                    "find the recovery folder of this home's first run; without it the key can't be rotated",
                )
            after = keyfiles.key_after_next(home)
            await ledger.append(Key(ROTATE, new.public_key, hashlib.sha256(after.public_key).digest(), 0, b"", 0))
        elif last.key != new.public_key:
            raise Fault("this log was closed in favour of another key than this recovery key", "find the right one: --from")
        keyfiles.write_account(home, account, old.public_key)
        keyfiles.set_out(home, new)
        keyfiles.arrive(home)
    await _begin(home, new, net, label)
    return Succession(account, old.public_key, new)


def _ensure_whole(ledger: Ledger) -> None:
    if ledger.is_restored or ledger.is_copied:
        how = "came from a backup" if ledger.is_restored else "is a copy (moved, or put back by hand?)"
        raise BadHome(
            f"this home {how}: others may hold more of its log, and to close it here could sign a second history",
            "start the node (meshgen run), which asks them, and rotate while it runs; `meshgen status` says when it knows",
        )


async def _finish_rotation(home: Path) -> Succession:
    """The new key was on its way when something cut it off."""
    old, new = keyfiles.own_key(home), keyfiles.incoming_key(home)
    assert new is not None
    net, account, label = _own_chain(home, old)
    async with open_ledger(home, old, net, now_ms=now_ms):
        keyfiles.arrive(home)
    await _begin(home, new, net, label)
    return Succession(account, old.public_key, new)


async def _begin(home: Path, new: Identity, net: bytes, label: str) -> None:
    """The new key's first entry, in the account that account.id names."""
    async with open_ledger(home, new, net, now_ms=now_ms, label=label):
        pass


def _own_chain(home: Path, key: Identity) -> tuple[bytes, bytes, str]:
    """(net, account, label) of the home's own log."""
    with open_read_only(home) as store:
        first = store.wires(key.public_key, 1, 1)
        net = store.meta("net")
    if not first:
        raise BadHome("this key has no log yet, so there is nothing to close", "its log begins when the node runs: meshgen run")
    entry = decode_entry(first[0])
    genesis = Genesis.from_entry(entry)
    return net, genesis.account or entry.id, genesis.label


def _genesis(ledger: Ledger) -> Genesis:
    return Genesis.from_entry(decode_entry(ledger.entries(ledger.identity.public_key, 1, 1)[0]))


def _last_key(ledger: Ledger) -> Key | None:
    seq = ledger.head().seq
    content = decode_entry(ledger.entries(ledger.identity.public_key, seq, seq)[0]).content
    return content if isinstance(content, Key) else None


# -- recovery


def recover(home: Path, keyfile: str, log: str | None, at_seq: int | None) -> tuple[Succession, Head]:
    """The next key takes over from a lost one. Raises Fault. (What came of it, where the lost chain is taken to end.)"""
    new = keyfiles.recovery_key(home, keyfile)
    lost = find_lost(Path(log) if log else home, new)
    if at_seq is not None:
        lost = _cut(Path(log) if log else home, lost, at_seq)
    return trio.run(_recover, home, new, lost, list(_wires(Path(log), lost.author)) if log else []), lost.head


def find_lost(source: Path, new: Identity) -> Lost:
    """The chain that committed to this key, in a home, a ledger's file or a jsonl export. Raises Fault."""
    wanted = hashlib.sha256(new.public_key).digest()
    found = [lost for lost, next_hash in _chains(source) if next_hash == wanted and lost.author != new.public_key]
    if len(found) == 1:
        return found[0]
    if found:
        raise Fault("more than one log committed to this recovery key")
    raise Fault(
        "no log that is kept here committed to this recovery key",
        "ask somebody for the lost peer's log (`meshgen credit export --peer ... --out lost.jsonl`) and give it with --log",
    )


def _chains(source: Path) -> Iterator[tuple[Lost, bytes]]:
    if not source.exists():
        return
    if source.is_dir() or source.suffix == ".db":
        with open_read_only(source) as store:
            yield from _kept_chains(store)
        return
    for author, chain in _read_export(source).story.chains.items():
        if chain.next_hash:
            yield Lost(author, chain.net, chain.account, "", chain.head), chain.next_hash


def _kept_chains(store: Store) -> Iterator[tuple[Lost, bytes]]:
    net = store.meta("net")
    for author in store.authors():
        first = store.wires(author, 1, 1)
        if not first:
            continue
        entry = decode_entry(first[0])
        genesis = Genesis.from_entry(entry)
        yield Lost(author, net, genesis.account or entry.id, genesis.label, store.end(author)), genesis.next_key_hash


def _read_export(file: Path) -> Exported:
    try:
        with file.open("rb") as lines:
            report = read_export(lines)
    except OSError as error:
        raise Fault(f"{file} can't be read: {error.strerror}") from None
    if report.faults:
        raise Fault(f"{file} does not hold: {report.faults[0]}", "`meshgen credit verify` shows all that is wrong")
    return report


def _cut(source: Path, lost: Lost, at_seq: int) -> Lost:
    """Stand by the lost chain up to an earlier entry: what a thief wrote after it is not the account's."""
    if not source.is_dir() and source.suffix != ".db":
        raise Fault("--at needs the log in a home or a ledger.db, not an export")
    with open_read_only(source) as store:
        wires = store.wires(lost.author, at_seq, at_seq)
    if not wires:
        raise Fault(f"entry {at_seq} of the lost log is not kept here; it goes up to {lost.head.seq}")
    return replace(lost, head=decode_entry(wires[0]).head)


def _wires(source: Path, author: bytes) -> Iterator[bytes]:
    """The lost chain itself, for the new home to keep."""
    if source.is_dir() or source.suffix == ".db":
        with open_read_only(source) as store:
            yield from (row.wire for row in store.chain(author))
        return
    with source.open("rb") as lines:
        found = (json.loads(line) for line in lines)
        yield from (base64.b64decode(one["wire"]) for one in found if one.get("author") == peer_id(author))


async def _recover(home: Path, new: Identity, lost: Lost, wires: list[bytes]) -> Succession:
    current = home / KEY_FILE
    if not current.exists() or keyfiles.read_key(current) != new:
        _refuse_other_log(home, new, lost)
        keyfiles.key_after_next(home)
        keyfiles.write_account(home, lost.account, lost.author)
        keyfiles.set_out(home, new)
    elif read_account(home) != lost.account:
        raise Fault("this recovery key is in use already, for something else")
    if keyfiles.incoming_key(home):
        keyfiles.arrive(home)
    async with open_ledger(home, new, lost.net, now_ms=now_ms, label=lost.label) as ledger:
        if ledger.head().seq == 1:
            await ledger.append(Key(RECOVER, lost.author, b"", lost.head.seq, lost.head.id, 0))
        elif not _recovers(ledger, lost.author):
            raise Fault("the new key's log went on without the recovery: it must be its second entry, so it is too late for it")
        with contextlib.suppress(Refused):  # a part of a log can't be kept; the mesh has the rest
            for start in range(0, len(wires), MAX_RANGE_ENTRIES):
                await ledger.add(lost.author, wires[start : start + MAX_RANGE_ENTRIES])
    return Succession(lost.account, lost.author, new)


def _refuse_other_log(home: Path, new: Identity, lost: Lost) -> None:
    """A home whose log has begun for another peer keeps it."""
    try:
        with open_read_only(home) as store:
            own = store.meta("self")
    except LedgerError:
        return
    if own not in (b"", new.public_key, lost.author):
        raise Fault(f"{home} has the log of another peer", "recover into a fresh home: --home FOLDER")


def _recovers(ledger: Ledger, author: bytes) -> bool:
    try:
        key = Key.from_entry(decode_entry(ledger.entries(ledger.identity.public_key, 2, 2)[0]))
    except Malformed:
        return False
    return (key.op, key.key) == (RECOVER, author)
