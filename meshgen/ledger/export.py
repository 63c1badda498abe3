"""A log as files that other tools read. Pure: each format is lines from entries; who writes them to a file is the caller's.

``jsonl`` is lossless: the signed bytes of each entry next to what they say, so :mod:`meshgen.ledger.exported` can check it
anywhere. ``csv`` (and parquet, of the same rows) is a flat table, ``graphml`` the accounts and what lies between them.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from meshgen.identity import peer_id
from meshgen.ledger.fold import Balance
from meshgen.ledger.forks import ForkEvidence
from meshgen.ledger.words import facts, fields
from meshgen.protocols.credit import Entry

FORMAT = "credit-export"
VERSION = 1
MAX_LINE_BYTES = 64 * 1024
"""Longer than any line of an export; a reader need not go on."""
_JSON = json.JSONEncoder(separators=(",", ":"))
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run."""


class Row(NamedTuple):
    """One entry as a line of the flat table. Peers are peer ids, ids are hex, absent values are empty."""

    time: str
    """UTC, ISO 8601."""
    ts_ms: int
    author: str
    seq: int
    kind: str
    counterparty: str
    mkudos: int | None
    state: str
    """Of the deal that it is part of: open, paid, claimed, released, contested; else empty."""
    id: str
    about: str
    """The entry or account that it speaks of: a receipt's hold, a recovery's last entry."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a file holds; its first line says so."""

    net: bytes
    own: bytes
    """Whose home it was taken from."""
    author: bytes = b""
    """The one chain it holds; b"" = all."""
    since: str = ""
    """As it was asked for; "" = from the first entry on."""
    created_ms: int = 0


def header(selection: Selection) -> dict[str, Any]:
    chosen = {"peer": peer_id(selection.author) if selection.author else "", "since": selection.since}
    own = {"own": peer_id(selection.own), "own_key": selection.own.hex()} if selection.own else {"own": "", "own_key": ""}
    return {
        "meshgen": FORMAT,
        "version": VERSION,
        "net": selection.net.hex(),
        **own,
        **chosen,
        "created_ms": selection.created_ms,
    }


def jsonl(
    selection: Selection,
    entries: Iterable[Entry],
    forks: Iterable[ForkEvidence] = (),
    branches: Iterable[Entry] = (),
    pruned: Mapping[bytes, int] | None = None,
) -> Iterator[str]:
    """A header, one line a fork, one an entry, and a last line that tells whether the file is whole.

    ``branches`` are entries off the main chain of who forked; ``pruned`` says up to where an author's payments are not kept.
    """
    yield _line(header(selection))
    for author, upto_seq in sorted((pruned or {}).items()):
        yield _line({"pruned": peer_id(author), "upto": upto_seq})
    count = proofs = 0
    for fork in forks:
        proofs += 1
        wires = [_base64(wire) for wire in fork.wires]
        yield _line({"fork": peer_id(fork.author), "seq": fork.seq, "ids": [one.hex() for one in fork.ids], "wires": wires})
    for entry in entries:
        count += 1
        yield _line(entry_line(entry))
    for entry in branches:
        count += 1
        yield _line(entry_line(entry) | {"branch": True})
    yield _line({"end": True, "entries": count, "forks": proofs})


def entry_line(entry: Entry) -> dict[str, Any]:
    """What it says in words, and the very bytes that were signed."""
    known = facts(entry)
    return {
        "author": peer_id(entry.author),
        "seq": entry.seq,
        "id": entry.id.hex(),
        "time": iso(entry.ts_ms),
        "ts_ms": entry.ts_ms,
        "kind": known.kind,
        "says": fields(entry),
        "wire": _base64(entry.wire),
    }


def row(entry: Entry, state: str) -> Row:
    known = facts(entry)
    return Row(
        time=iso(entry.ts_ms),
        ts_ms=entry.ts_ms,
        author=peer_id(entry.author),
        seq=entry.seq,
        kind=known.kind,
        counterparty=peer_id(known.counterparty) if known.counterparty else "",
        mkudos=known.mkudos,
        state=state,
        id=entry.id.hex(),
        about=known.about.hex(),
    )


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """RFC 4180 with a header line."""
    yield _csv_line(Row._fields)
    for one in rows:
        yield _csv_line(["" if cell is None else cell_text(cell) for cell in one])


def cell_text(cell: object) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers stay."""
    text = str(cell)
    return f"'{text}" if isinstance(cell, str) and text.startswith(_FORMULA) else text


@dataclass(slots=True)
class Between:
    """All that one peer's deals and gifts with another came to, in milli-kudos."""

    owed: int = 0
    """For work: what the payer signed for or the payee claimed."""
    claimed: int = 0
    """The part of it for which the payer gave no receipt."""
    contested: int = 0
    """The part of it that the payer denies."""
    given: int = 0
    """Tips, shares, rewards."""
    deals: int = 0


def graphml(
    balances: Mapping[bytes, Balance],
    labels: Mapping[bytes, str],
    forked: Iterable[bytes],
    edges: Mapping[tuple[bytes, bytes], Between],
) -> Iterator[str]:
    """Peers as nodes, (payer, payee) as edges; for Gephi, yEd, networkx."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
    for place, kind, name in _KEYS:
        yield f'<key id="{place[0]}_{name}" for="{place}" attr.name="{name}" attr.type="{kind}"/>\n'
    yield '<graph id="credit" edgedefault="directed">\n'
    caught = frozenset(forked)
    for key in sorted({*balances, *(side for pair in edges for side in pair)}):
        balance = balances.get(key, Balance())
        sums = {name: getattr(balance, name) for name in ("earned", "spent", "net", "held", "contested")}
        told = {"label": labels.get(key, ""), **sums, "forked": str(key in caught).lower()}
        yield f"<node id={quoteattr(peer_id(key))}>{_data('n', told)}</node>\n"
    for (payer, payee), edge in sorted(edges.items()):
        sums = {name: getattr(edge, name) for name in _EDGE}
        yield f"<edge source={quoteattr(peer_id(payer))} target={quoteattr(peer_id(payee))}>{_data('e', sums)}</edge>\n"
    yield "</graph>\n</graphml>\n"


_EDGE = ("owed", "claimed", "contested", "given", "deals")
_KEYS: Sequence[tuple[str, str, str]] = (
    ("node", "string", "label"),
    *(("node", "long", name) for name in ("earned", "spent", "net", "held", "contested")),
    ("node", "boolean", "forked"),
    *(("edge", "long", name) for name in _EDGE),
)


def _data(prefix: str, values: Mapping[str, object]) -> str:
    return "".join(f'<data key="{prefix}_{name}">{escape(str(value))}</data>' for name, value in values.items())


def iso(ms: int) -> str:
    """UTC to the millisecond; a date beyond the calendar's end as its number."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(ms)


def _csv_line(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _line(value: dict[str, Any]) -> str:
    return _JSON.encode(value) + "\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
