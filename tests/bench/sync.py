"""Catching up: a gap pulled over libp2p from another process, next to what the ledger alone takes for the same entries."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trio

from meshgen.cli.local_mesh import local_mesh
from meshgen.identity import load_or_create
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.net.libp2p import open_libp2p
from meshgen.peers.archivist import Archivist
from meshgen.peers.directory import table_rules
from meshgen.peers.interest import Interest
from meshgen.peers.peer import system_ms
from meshgen.protocols.credit import MAX_RANGE_ENTRIES, net_id
from tests.ledger.people import Author, author, receipt

CHARTER = "meshgen-bench-v0"
NET = net_id(CHARTER.encode())
SIZES = (1_000, 10_000, 30_000)
SHAPES = (10, 1)
"""Chains that the gap is spread over. A chain far behind is taken in by its last signatures, and judged while more comes."""
LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Gap:
    """Rates are in entries a second."""

    chains: int
    entries: int
    held_s: float  # pulled and stored
    judged_s: float  # and every signature checked
    synced_per_s: float
    alone_per_s: float  # checked and stored by the same ledger, without a net

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def gaps(root: Path) -> list[Gap]:
    return [measure(root / f"{chains}-{entries}", chains, entries) for chains in SHAPES for entries in SIZES]


def measure(root: Path, chains: int, entries: int) -> Gap:
    people = [_busy(number, entries // chains) for number in range(chains)]
    alone_s = trio.run(_store, root / "source", people)
    with local_mesh(root, CHARTER) as mesh:
        source = mesh.start("source", "archivist")
        held_s, judged_s = trio.run(_pull, root / "sink", source.address(), people)
    total = sum(len(person.entries) for person in people)
    return Gap(chains, total, held_s, judged_s, total / judged_s, total / alone_s)


def _busy(number: int, entries: int) -> Author:
    """Someone who pays for one picture after the other."""
    payer, payee = author(2 * number, NET), author(2 * number + 1, NET)
    while len(payer.entries) < entries:
        payer.write(receipt(payee, payer.hold(payee, 1000), 1000))
    return payer


async def _store(home: Path, people: list[Author]) -> float:
    async with open_ledger(home, load_or_create(home), NET, now_ms=system_ms) as ledger:
        started = time.perf_counter()
        for person in people:
            wires = person.wires
            for at in range(0, len(wires), MAX_RANGE_ENTRIES):
                await ledger.add(person.key, wires[at : at + MAX_RANGE_ENTRIES])
        return time.perf_counter() - started


async def _pull(home: Path, source: str, people: list[Author]) -> tuple[float, float]:
    """Seconds until all is held, and until all is judged."""
    identity = load_or_create(home)
    async with (
        open_ledger(home, identity, NET, now_ms=system_ms) as ledger,
        open_libp2p(identity, ["/ip4/127.0.0.1/tcp/0"], table=table_rules(system_ms)) as net,
        trio.open_nursery() as nursery,
    ):
        archivist = Archivist(net, ledger, Interest(ledger, system_ms, follow=frozenset(person.key for person in people)))
        await nursery.start(archivist.run)
        peer = await net.connect(source)
        started = time.perf_counter()
        while missing := [person.key for person in people if ledger.known(person.key) != person.head]:
            for key in missing:  # again and again, as reconciliation would: a pull that takes long gives way to others
                archivist.want(key, peer)
            await trio.sleep(LOOK_S)
        held_s = time.perf_counter() - started
        while not _judged(ledger, people):  # noqa: ASYNC110 - a ledger tells nobody when it has judged
            await trio.sleep(LOOK_S)
        judged_s = time.perf_counter() - started
        nursery.cancel_scope.cancel()
    return held_s, judged_s


def _judged(ledger: Ledger, people: list[Author]) -> bool:
    heads = dict(ledger.heads())
    return all(heads.get(person.key) == person.head for person in people)


def table(rows: list[Gap]) -> str:
    heads = ("chains", "entries", "held s", "judged s", "entries/s", "ledger alone/s", "of it")
    lines = ["  ".join(f"{head:>14}" for head in heads)]
    for row in rows:
        cells = (
            f"{row.chains}",
            f"{row.entries}",
            f"{row.held_s:.2f}",
            f"{row.judged_s:.2f}",
            f"{row.synced_per_s:.0f}",
            f"{row.alone_per_s:.0f}",
            f"{row.synced_per_s / row.alone_per_s:.0%}",
        )
        lines.append("  ".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="meshgen-bench-") as folder:
        print(table(gaps(Path(folder))))
