"""What Sybils extract, and how much CPU "who comes first?" takes in a large graph. ``python -m tests.bench.standing``."""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass
from typing import Any

from meshgen.ledger.accounts import Accounts
from meshgen.ledger.fold import Edge
from meshgen.ledger.standings import Standings
from tests.ledger.sybils import Extracted, attack

SYBILS = (1, 10, 100, 1000)
SIZES = ((1_000, 20_000), (5_000, 100_000), (10_000, 200_000))
"""(peers, edges): a mesh that grows, each peer having dealt with as many others."""
DENSE = (1_000, 200_000)
"""The same edges among fewer peers: every second pair or so is joined by a thousand paths."""
ASKED = 1_000


@dataclass(frozen=True, slots=True)
class Timing:
    peers: int
    edges: int
    load_s: float  # the first question, which takes in all edges
    cold_ms: float  # a question about one of ASKED peers, each asked for the first time
    again_us: float  # the same question, nothing having changed
    changed_ms: float  # ...after an own deal, which may change every answer
    known: int  # of ASKED, those with credit


def measure(peers: int, edges: int) -> Timing:
    rng = random.Random(f"{peers}/{edges}")
    keys = [rng.randbytes(32) for _ in range(peers)]
    owed: dict[tuple[bytes, bytes], Edge] = {}
    while len(owed) < edges:
        payer, payee = rng.sample(keys, 2)
        owed[payer, payee] = Edge(rng.randint(1, 10**6))
    me, asked = keys[0], rng.sample(keys[1:], min(ASKED, peers - 1))
    standings = Standings(me, owed, {}, Accounts())

    def ask() -> float:
        started = time.process_time()
        for key in asked:
            standings.credit(key, 0)
        return time.process_time() - started

    started = time.process_time()
    standings.credit(me, 0)
    load_s = time.process_time() - started
    cold_s, again_s = ask(), ask()
    changed_s = 0.0
    for key in asked[:20]:
        owed[me, key] = Edge(owed.get((me, key), Edge()).owed + 1000)
        standings.dealt(me, key)
        started = time.process_time()
        standings.credit(asked[-1], 0)
        changed_s += time.process_time() - started
    known = sum(standings.credit(key, 0) > 0 for key in asked)
    count = len(asked)
    return Timing(peers, edges, load_s, cold_s * 1000 / count, again_s * 1e6 / count, changed_s * 1000 / 20, known)


def sybil_table(rows: list[Extracted]) -> str:
    lines = [f"{'sybils':>8}{'plain balance':>20}{'flow per identity':>20}{'path-charged flow':>20}   (kudos before strangers)"]
    lines += [
        f"{row.sybils:>8,}{row.by_balance / 1000:>20,.0f}{row.by_identity / 1000:>20,.0f}{row.by_charges / 1000:>20,.0f}"
        for row in rows
    ]
    return "\n".join(lines)


def timing_table(rows: list[Timing]) -> str:
    heads = ("peers", "edges", "load s", "cold ms", "again us", "changed ms", "with credit")
    lines = ["".join(f"{head:>12}" for head in heads)]
    for row in rows:
        cells = (f"{row.load_s:.2f}", f"{row.cold_ms:.2f}", f"{row.again_us:.1f}", f"{row.changed_ms:.2f}", f"{row.known}")
        lines.append("".join(f"{cell:>12}" for cell in (f"{row.peers:,}", f"{row.edges:,}", *cells)))
    return "\n".join(lines)


def standing() -> dict[str, Any]:
    """Print both tables, and give their figures."""
    attacks = [attack(sybils) for sybils in SYBILS]
    timings = [measure(*size) for size in (*SIZES, DENSE)]
    print(sybil_table(attacks), timing_table(timings), sep="\n\n", end="\n\n")
    return {"sybils": [asdict(row) for row in attacks], "standing": [asdict(row) for row in timings]}


if __name__ == "__main__":
    standing()
