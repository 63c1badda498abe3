"""Logs: what hostile authors may have signed, and files that claim to be a log."""

from __future__ import annotations

from collections.abc import Iterator

from meshgen.ledger.accounts import Accounts
from meshgen.ledger.books import Books
from meshgen.ledger.dues import pack, unpack
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.export import Selection, jsonl
from meshgen.ledger.exported import NoExport, read_export
from meshgen.ledger.fold import balances, gather, gifts
from meshgen.ledger.judging import examine, read_links
from meshgen.ledger.promises import Promises
from meshgen.ledger.rules import Chain
from meshgen.protocols.codec import Malformed, encode
from meshgen.protocols.credit import Claim, Receipt, decode_entry
from tests.fuzz.target import Target, logs, parts, vectors


def log_targets() -> Iterator[Target]:
    """Past the signatures, which no mutation gets right: frame, rules and fold must bear whatever anybody may sign."""
    yield Target("ledger/entry-unsigned", lambda data: decode_entry(data, verify=False), vectors("credit", "entry"))
    seeds = tuple(encode(tuple(wires)) for wires in logs("chains/*valid/*.json"))
    yield Target("ledger/chain", _fold_chain, seeds, (Malformed, InvalidEntry))
    yield Target("ledger/links", _links, seeds, (Malformed, InvalidEntry))
    yield Target("ledger/examine", _examine, seeds)
    yield Target("ledger/due", lambda data: unpack(data[0], data[1:]) if data else None, _dues())
    yield Target("ledger/export", _export, _exports(), (NoExport,), slow=True)


def _fold_chain(data: bytes) -> None:
    """What its author signed may say anything of anybody; as far as it is valid, it is added up."""
    entries = [decode_entry(wire, verify=False) for wire in parts(data)]
    assert sum(balance.net for balance in balances(gather(entries), gifts(entries)).values()) == 0, "no sum of zero"
    books, accounts, promises = Books(), Accounts(), Promises()
    chain = Chain(entries[0].net, entries[0].author) if entries else None
    for entry in entries:
        assert chain is not None
        chain.append(entry, embedded=False)
        books.add(entry)
        promises.add(entry)
        accounts.add(entry)
        accounts.members(accounts.account_of(entry.author))
    assert sum(balance.net for balance in books.balances.values()) == 0, "no sum of zero"


def _links(data: bytes) -> None:
    """Head mode: one signature, and the links before it. What it takes must be what an entry's own decoder reads."""
    wires = parts(data)
    for link in read_links(*_chain_of(wires), wires):
        assert type(link.seq) is int
        assert type(link.kind) is int


def _examine(data: bytes) -> None:
    """Never raises but for what is no array of wires."""
    wires = parts(data)
    found = examine(*_chain_of(wires), wires)
    assert (found.fault is None) == (len(found.entries) == len(wires))


def _chain_of(wires: list[bytes]) -> tuple[bytes, bytes]:
    """The mesh and author that the first wire names."""
    if not wires:
        return bytes(16), bytes(32)
    first = decode_entry(wires[0], verify=False)
    return first.net, first.author


def _export(data: bytes) -> None:
    report = read_export(data.split(b"\n"))
    assert sum(balance.net for balance in report.story.balances().values()) == 0, "balances that don't sum to zero"
    assert all(str(fault) for fault in report.faults)


def _exports() -> tuple[bytes, ...]:
    entries = [[decode_entry(wire) for wire in wires] for wires in logs("folds/*.json")]
    chosen = Selection(entries[0][0].net, b"")
    return tuple("\n".join(line.strip() for line in jsonl(chosen, log)).encode() for log in entries)


def _dues() -> tuple[bytes, ...]:
    contents = [decode_entry(wire).content for wire in vectors("credit", "entry", good=True)]
    dues = [pack(content) for content in contents if isinstance(content, Receipt | Claim)]
    return tuple(bytes([kind]) + data for kind, data in dues)
