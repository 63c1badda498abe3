"""Who was away, cut off or set back finds its way back to what all the others hold."""

from __future__ import annotations

import pytest
import trio

from meshgen.ledger.prints import digest
from meshgen.peers.peer import Peer
from meshgen.peers.reconciliation import PROVED_S
from meshgen.testing import VirtualMesh, pictures_of, simulate

DAY_S = 24 * 3600.0


def everything(node: Peer) -> tuple[bytes, object]:
    """All chains, forks and branches that a node holds, and what they come to."""
    ledger = node.ledger
    return digest(ledger.heads(), ledger.proofs_print()), ledger.balances()


def test_a_node_that_was_away_for_a_week_catches_up() -> None:
    async def study(mesh: VirtualMesh) -> None:
        await mesh.add("hub", "hub archivist")
        await mesh.add("traveller", "archivist")
        await mesh.worker("worker")
        await mesh.requester("asker")
        await mesh.leave("traveller")
        for _ in range(7):
            await works(mesh.nodes["asker"])
            await trio.sleep(20)
            for name in ("asker", "worker", "hub"):  # everybody sleeps at night
                await mesh.leave(name)
            await trio.sleep(DAY_S)
            for name in ("hub", "worker", "asker"):
                await mesh.restart(name)
        before = everything(mesh.nodes["traveller"])
        traveller, hub = await mesh.restart("traveller"), mesh.nodes["hub"]
        await trio.sleep(PROVED_S)
        assert everything(traveller) == everything(hub) != before
        assert traveller.ledger.known(mesh.nodes["asker"].identity.public_key) == mesh.nodes["asker"].ledger.head()

    simulate(study, 1)


def test_two_halves_of_a_split_mesh_merge() -> None:
    async def study(mesh: VirtualMesh) -> None:
        halves = [[f"hub {half}", f"worker {half}", f"helper {half}", f"asker {half}"] for half in (1, 2)]
        async with trio.open_nursery() as nursery:
            for half in (1, 2):
                await mesh.add(f"hub {half}", "hub archivist")
                nursery.start_soon(mesh.worker, f"worker {half}", 2.0)
                nursery.start_soon(mesh.worker, f"helper {half}", 3.0)
                nursery.start_soon(mesh.requester, f"asker {half}")
        mesh.partition(*halves)
        async with trio.open_nursery() as nursery:
            for half in (1, 2):
                nursery.start_soon(works, mesh.nodes[f"asker {half}"])
        await trio.sleep(PROVED_S)
        one, other = mesh.nodes["hub 1"], mesh.nodes["hub 2"]
        assert everything(one) != everything(other)
        mesh.heal()
        await trio.sleep(PROVED_S)
        assert everything(one) == everything(other)
        assert sum(balance.net for balance in one.ledger.balances().values()) == 0
        assert all(one.ledger.known(node.identity.public_key) == node.ledger.head() for node in mesh.nodes.values())

    simulate(study, 2, delay_s=(0.01, 0.1), loss=0.02)


async def works(asker: Peer) -> None:
    job = await pictures_of(asker, count=6)
    assert job.state == "done", job.error


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_node_restored_from_an_old_backup_never_forks(seed: int) -> None:
    """Whoever it meets first: most of its neighbours never dealt with it, and know nothing of its chain."""

    async def study(mesh: VirtualMesh) -> None:
        hub = await mesh.add("hub", "hub archivist")
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(mesh.worker, f"worker {number}")
        asker = await mesh.requester("asker")
        await works(asker)
        old = mesh.backup("asker")
        await works(asker)
        head = asker.ledger.head()
        await trio.sleep(60)
        await mesh.kill("asker")
        asker = await mesh.restore("asker", old)
        await works(asker)
        assert asker.ledger.head().seq > head.seq
        assert asker.ledger.id_at(asker.identity.public_key, head.seq) == head.id
        await trio.sleep(60)
        assert not [node for node in mesh.nodes.values() if node.ledger.forks()]
        assert hub.ledger.known(asker.identity.public_key) == asker.ledger.head()

    simulate(study, seed)
