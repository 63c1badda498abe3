"""What must hold whatever happened. Each check gives a line for every fault that it finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from meshgen.ledger.ledger import Ledger
from meshgen.peers.peer import Peer
from meshgen.protocols.credit import Entry, decode_entry
from meshgen.testing import VirtualMesh
from tests.simulation.watch import Deliveries

if TYPE_CHECKING:
    from tests.simulation.story import Story


def check_end(mesh: VirtualMesh, deliveries: Deliveries, story: Story, set_back: Collection[str]) -> list[str]:
    """Of a mesh that was left in peace for a while. Who was ``set_back`` to an old disk lost the vouchers on the newer one."""
    return [
        *_sums(mesh),
        *_merges(mesh),
        *_honest_are_never_convicted(mesh),
        *_losses(mesh, deliveries, story, set_back),
    ]


# -- forks


def visible_forks(mesh: VirtualMesh) -> dict[bytes, set[int]]:
    """author -> places at which honest peers, taken together, hold two entries."""
    seen: defaultdict[tuple[bytes, int], set[bytes]] = defaultdict(set)
    for node in mesh.nodes.values():
        for entry in _held(node.ledger):
            seen[entry.author, entry.seq].add(entry.id)
        for fork in node.ledger.forks():
            seen[fork.author, fork.seq].update(fork.ids)
    forks: defaultdict[bytes, set[int]] = defaultdict(set)
    for (author, seq), ids in seen.items():
        if len(ids) > 1:
            forks[author].add(seq)
    return dict(forks)


def check_forks(mesh: VirtualMesh, visible: Mapping[bytes, set[int]]) -> list[str]:
    """Every honest peer can prove every one of them."""
    faults: list[str] = []
    for name, node in mesh.nodes.items():
        proved = {fork.author for fork in node.ledger.forks()}
        faults += [f"{name} can't prove the fork of {_short(author)}" for author in visible.keys() - proved]
    return faults


def _honest_are_never_convicted(mesh: VirtualMesh) -> Iterator[str]:
    honest = {node.identity.public_key: name for name, node in mesh.nodes.items()}
    for name, node in mesh.nodes.items():
        for fork in node.ledger.forks():
            if fork.author in honest:
                yield f"{name} convicts {honest[fork.author]}, who is honest, at entry {fork.seq}"


# -- balances


def _sums(mesh: VirtualMesh) -> Iterator[str]:
    for name, node in mesh.nodes.items():
        total = sum(balance.net for balance in node.ledger.balances().values())
        if total:
            yield f"at {name} all balances sum to {total}"


def _merges(mesh: VirtualMesh) -> Iterator[str]:
    """What two honest peers both hold, both judge alike; and an archivist has every honest chain whole."""
    archives = [name for name, node in mesh.nodes.items() if node.settings.has_role("archivist")]
    first = mesh.nodes[archives[0]].ledger
    for name in archives:
        yield from _has_everything(name, mesh.nodes)
    for name in archives[1:]:
        yield from _differences(archives[0], first.balances(), name, mesh.nodes[name].ledger.balances())
    for name, node in mesh.nodes.items():
        shared = _shared(first, node.ledger)
        yield from _differences(archives[0], _deals(first, shared), name, _deals(node.ledger, shared))


def _has_everything(name: str, nodes: Mapping[str, Peer]) -> Iterator[str]:
    archive = nodes[name].ledger
    for other, node in nodes.items():
        own, known = node.ledger.head(), archive.known(node.identity.public_key)
        if own != known:
            yield f"the archivist {name} has {other}'s chain up to {known.seq} of {own.seq}"


def _shared(one: Ledger, other: Ledger) -> set[bytes]:
    """Whose chains both hold up to the same entry. Of who forked, what lies beside the chain comes later to those who are no
    archivists; archivists are compared in everything."""
    return {author for author, head in one.heads() if other.known(author) == head and not one.forked_at(author)}


def _deals(ledger: Ledger, authors: set[bytes]) -> dict[bytes, object]:
    """hold id -> what became of it, for deals between these authors: nobody else has a say in them."""
    lines = (line for author in authors for line in ledger.explain(author))
    return {line.entries[0]: (line.value, line.state) for line in lines if {line.payer, line.payee} <= authors}


def _differences(one: str, ones: Mapping[bytes, object], other: str, others: Mapping[bytes, object]) -> Iterator[str]:
    for key in sorted(ones.keys() | others.keys()):
        if ones.get(key) != others.get(key):
            yield f"about {_short(key)} {one} says {ones.get(key)} and {other} {others.get(key)}"


# -- what workers lose


def _losses(mesh: VirtualMesh, deliveries: Deliveries, story: Story, set_back: Collection[str]) -> Iterator[str]:
    workers = {node.net.peer_id: (name, node.ledger) for name, node in mesh.nodes.items() if name not in set_back}
    for hold_id, billed in deliveries.billed.items():
        if deliveries.worker[hold_id] not in workers:
            continue
        name, ledger = workers[deliveries.worker[hold_id]]
        hold = ledger.hold_info(hold_id, deliveries.payer[hold_id])
        lost = billed - (hold.value if hold else 0)
        pictures = lost / deliveries.price[hold_id]
        story.worst_loss = max(story.worst_loss, pictures)
        if pictures > 1:
            yield f"{name} lost {pictures:.1f} pictures in one job ({hold.state if hold else 'without a hold'})"


def _held(ledger: Ledger) -> Iterator[Entry]:
    for author, head in ledger.heads():
        have = 0
        while have < head.seq:
            wires = ledger.entries(author, have + 1, head.seq)
            if not wires:
                break
            have += len(wires)
            yield from (decode_entry(wire, verify=False) for wire in wires)


def _short(author: bytes) -> str:
    return author.hex()[:8]
